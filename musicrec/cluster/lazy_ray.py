"""Ray, imported when it is first used.

Ray takes half a second to import. Stages use it only for work, and most nights most of them find none.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, cast

__all__ = ["Task", "ray", "remote"]

if TYPE_CHECKING:
    import ray
else:

    class _Ray:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever Ray has
            import ray

            return getattr(ray, name)

    ray = _Ray()


class Task:
    """A function that runs as a Ray task; what :func:`ray.remote` gives, which is called when it is first needed."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        update_wrapper(cast(Any, self), function)

    @cached_property
    def _task(self) -> Any:  # noqa: ANN401 - Ray has no public type for it
        return ray.remote(**self._options)(self._function)

    def options(self, **options: Any) -> Any:  # noqa: ANN401
        """Return the task with other options, such as ``num_cpus``."""
        return self._task.options(**options)

    def remote(self, *arguments: Any) -> "ray.ObjectRef[Any]":  # noqa: ANN401
        """Start the task."""
        reference: ray.ObjectRef[Any] = self._task.remote(*arguments)
        return reference


def remote(**options: Any) -> Callable[[Callable[..., Any]], Task]:  # noqa: ANN401 - those of Ray
    """Decorate a function that runs as a Ray task, as :func:`ray.remote` does.

    Parameters
    ----------
    **options
        Those of Ray, such as ``num_cpus``.

    Examples
    --------
    >>> from musicrec.cluster.lazy_ray import remote
    >>> @remote(num_cpus=1)
    ... def square(n: int) -> int:
    ...     return n * n
    >>> square.__name__
    'square'
    """
    return lambda function: Task(function, options)
