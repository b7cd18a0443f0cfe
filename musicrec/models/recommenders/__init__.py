"""Methods that recommend to listeners of whom the likes are known, all used in one way: ``fit``, then ``recommend``.

``fit(likes, heard)`` takes sparse matrices [n_users, n_items]; ``recommend(users, n)`` returns int32 [n_users, n], the
best items first, -1 after the end. What a listener has heard is never recommended. A list depends on nobody who is
asked for at the same time.
"""
