"""Sixteen numbers computed side by side: a vector type for numba.

Neighbouring frames of a spectrum undergo the same arithmetic. So sixteen of them stand in the lanes of one vector, and
every loop over frames is written as if for a single one. The instructions are written out here; no compiler has to find
them in loops. Where a processor's registers are shorter, LLVM uses several.

An array "in lanes" is C-contiguous with a last axis of ``LANES``; its vectors are counted through all other axes.

A kernel is compiled from this file and from the other files in its folder too, so numba's cache on disk is valid for
one state of all of them.
"""

import hashlib
import operator
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core.caching import IndexDataCacheFile
from numba.core.cgutils import get_or_insert_function
from numba.core.errors import TypingError
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16

OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function by numba, and keep the result on disk until a file in its folder changes."""
    return _compiled(function)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """Compile a small function as :func:`kernel` does, as part of each kernel that calls it."""
    return _compiled(function, forceinline=True)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = njit(**OPTIONS, **options)(function)
    # numba looks at the function's own file only, and has no public way to name others.
    cache, state = dispatcher._cache, _state(Path(function.__code__.co_filename).parent)
    cache._cache_file = CompiledFiles(cache.cache_path, cache._impl.filename_base, state)
    return dispatcher


class CompiledFiles(IndexDataCacheFile):
    """Compiled functions on disk, each in a file that is named by what it was compiled for.

    numba numbers its files and keeps the numbers in an index. When two processes compile at the same time, one finds
    the other's function under its own number, calls it with the wrong types, and crashes. So there is no index here.
    """

    def save(self, key: tuple[Any, ...], data: Any) -> None:
        """Write what was compiled for a key, with the state of the source it was compiled from."""
        self._save_data(self._name(key), (self._source_stamp, data))

    def load(self, key: tuple[Any, ...]) -> Any:
        """Return what was compiled for a key from the source as it is now; None if nothing was."""
        try:
            stamp, data = self._load_data(self._name(key))
        except (OSError, ImportError, AttributeError):  # the last two: compiled for a class that has moved since
            return None
        return data if stamp == self._source_stamp else None

    def _name(self, key: tuple[Any, ...]) -> str:
        digest = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()
        return f"{self._index_name.removesuffix('.nbi')}.{digest[:16]}.nbc"


@lru_cache
def _state(room: Path) -> tuple[tuple[str, int, int], ...]:
    files = [Path(__file__), *sorted(room.glob("*.py"))]
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


class Lanes(types.Type):
    """Type of a vector of ``LANES`` numbers of one precision."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes.dtype))


def _vector(dtype: types.Type) -> ir.VectorType:
    elements = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int32: ir.IntType(32)}
    return ir.VectorType(elements[dtype], LANES)


def _constant(dtype: types.Type, value: float) -> ir.Constant:
    return ir.Constant(_vector(dtype), [value] * LANES)


def _order(lanes: list[int]) -> ir.Constant:
    return ir.Constant(_vector(types.int32), lanes)


def _spread(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    undefined = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, _order([0] * LANES))


# --- memory ---------------------------------------------------------------------------------------------------------


def _pointer(context, builder, array_type, array, at) -> ir.Value:
    if array_type.layout != "C":
        raise TypingError(f"lanes are read from and written to C-contiguous arrays, not {array_type}")
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _vector(array_type.dtype).as_pointer())


def emit_load(context, builder, array_type, array, at) -> ir.Value:
    """Emit the instruction that reads sixteen neighbours from a flat index on."""
    return builder.load(_pointer(context, builder, array_type, array, at), align=array_type.dtype.bitwidth // 8)


def emit_store(context, builder, array_type, array, at, value) -> None:
    """Emit the instructions that write sixteen neighbours from a flat index on, in the precision of the array."""
    pointer = _pointer(context, builder, array_type, array, at)
    builder.store(_converted(builder, value, array_type.dtype), pointer, align=array_type.dtype.bitwidth // 8)


def _converted(builder: ir.IRBuilder, value: ir.Value, dtype: types.Float) -> ir.Value:
    vector = _vector(dtype)
    if value.type == vector:
        return value
    return builder.fpext(value, vector) if dtype == types.float64 else builder.fptrunc(value, vector)


def _times_lanes(builder: ir.IRBuilder, i: ir.Value) -> ir.Value:
    return builder.mul(i, ir.Constant(i.type, LANES))


@intrinsic
def load(typing, array, i):
    """``load(array, i)``: vector i of an array in lanes."""

    def generate(context, builder, signature, arguments):
        return emit_load(context, builder, signature.args[0], arguments[0], _times_lanes(builder, arguments[1]))

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing, array, i, value):
    """``store(array, i, value)``: write vector i of an array in lanes."""

    def generate(context, builder, signature, arguments):
        array, i, value = arguments
        emit_store(context, builder, signature.args[0], array, _times_lanes(builder, i), value)

    return types.void(array, types.intp, value), generate


@intrinsic
def load_at(typing, array, at):
    """``load_at(array, at)``: sixteen neighbours of any C-contiguous array from its flat index on."""

    def generate(context, builder, signature, arguments):
        return emit_load(context, builder, signature.args[0], *arguments)

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def store_at(typing, array, at, value):
    """``store_at(array, at, value)``: write sixteen neighbours of any C-contiguous array from its flat index on."""

    def generate(context, builder, signature, arguments):
        emit_store(context, builder, signature.args[0], *arguments)

    return types.void(array, types.intp, value), generate


@intrinsic
def prefetch(typing, array, at):
    """``prefetch(array, at)``: load a flat index of a C-contiguous array into the cache, without waiting for it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        function = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, *(ir.Constant(i32, value) for value in (0, 3, 1))])  # to read, keep, data

    return types.void(array, types.intp), generate


@intrinsic
def transpose(typing, source, at, stride, target, to, target_stride):
    """``transpose(source, at, stride, target, to, target_stride)``: transpose a tile of 16 × 16, flat indices."""

    def generate(context, builder, signature, arguments):
        source, at, stride, target, to, target_stride = arguments
        rows = []
        for _ in range(LANES):
            rows.append(emit_load(context, builder, signature.args[0], source, at))
            at = builder.add(at, stride)
        # Interleaving the first half of the rows with the second rotates the bits of an element's place by one. After
        # four times, the bits of its row and of its column are swapped.
        half = LANES // 2
        orders = [
            _order([place for k in range(start, start + half) for place in (k, LANES + k)]) for start in (0, half)
        ]
        for _ in range(LANES.bit_length() - 1):
            rows = [builder.shuffle_vector(rows[k], rows[k + half], order) for k in range(half) for order in orders]
        for row in rows:
            emit_store(context, builder, signature.args[3], target, to, row)
            to = builder.add(to, target_stride)

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), generate


# --- arithmetic -----------------------------------------------------------------------------------------------------

FLAGS = ("contract", "nsz")  # products may be fused into sums; the order of sums is as written


def _precision(*operands: types.Type) -> types.Float | None:
    """Return the precision of the lanes among operands; None unless all others are numbers or lanes of the same."""
    lanes = {operand.dtype for operand in operands if isinstance(operand, Lanes)}
    scalars = all(isinstance(operand, Lanes | types.Number) for operand in operands)
    return lanes.pop() if len(lanes) == 1 and scalars else None


def _as_lanes(context, builder, dtype, given, value) -> ir.Value:
    return value if isinstance(given, Lanes) else _spread(builder, context.cast(builder, value, given, dtype))


Emit = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def _operation(emit: Emit) -> Any:
    """Make a function of two operands, each lanes or a number, that emits one instruction."""

    @intrinsic
    def operation(typing, a, b):
        def generate(context, builder, signature, arguments):
            dtype = signature.return_type.dtype
            pairs = zip(signature.args, arguments, strict=True)
            return emit(builder, *(_as_lanes(context, builder, dtype, given, value) for given, value in pairs))

        dtype = _precision(a, b)
        return None if dtype is None else (Lanes(dtype)(a, b), generate)

    return operation


def _operator(symbol: Callable[..., Any], instruction: str) -> None:
    """Let an operator of Python work on lanes."""

    @type_callable(symbol)
    def of_type(context):
        def typer(a, b):
            dtype = _precision(a, b)
            return None if dtype is None else Lanes(dtype)

        return typer

    def generate(context, builder, signature, arguments):
        dtype = signature.return_type.dtype
        pairs = zip(signature.args, arguments, strict=True)
        operands = (_as_lanes(context, builder, dtype, given, value) for given, value in pairs)
        return getattr(builder, instruction)(*operands, flags=FLAGS)

    for operands in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(symbol, *operands)(generate)


for _symbol, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _operator(getattr(operator, _symbol), _instruction)
    _operator(getattr(operator, f"i{_symbol}"), _instruction)


def emit_minimum(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Emit the instruction for the smaller of two, lane by lane."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def emit_maximum(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Emit the instruction for the larger of two, lane by lane."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _emit_less(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.uitofp(builder.fcmp_ordered("<", a, b), a.type)


minimum = _operation(emit_minimum)
maximum = _operation(emit_maximum)
less = _operation(_emit_less)  # one where a < b, zero elsewhere


@intrinsic
def spread(typing, number):
    """``spread(number)``: a floating-point number in every lane."""

    def generate(context, builder, signature, arguments):
        return _spread(builder, arguments[0])

    return Lanes(number)(number), generate


@intrinsic
def sqrt(typing, x):
    """``sqrt(x)``: square root of float32 lanes, lane by lane."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(arguments[0].type, [arguments[0].type])
        return builder.call(get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32"), arguments)

    return x(x), generate


@intrinsic
def as_in(typing, array, x):
    """``as_in(array, x)``: lanes in the precision of an array."""

    def generate(context, builder, signature, arguments):
        return _converted(builder, arguments[1], signature.args[0].dtype)

    return Lanes(array.dtype)(array, x), generate


@intrinsic
def bits(typing, x):
    """``bits(x)``: integer whose bit l is set where lane l is not zero."""

    def generate(context, builder, signature, arguments):
        zero = _constant(signature.args[0].dtype, 0.0)
        mask = builder.bitcast(builder.fcmp_unordered("!=", arguments[0], zero), ir.IntType(LANES))
        return builder.zext(mask, ir.IntType(64))

    return types.int64(x), generate


@intrinsic
def lane_sum(typing, x):
    """``lane_sum(x)``: sum of the lanes, each half added to the other, in float64."""

    def generate(context, builder, signature, arguments):
        total = _converted(builder, arguments[0], types.float64)
        undefined = ir.Constant(total.type, ir.Undefined)
        half = LANES // 2
        while half:
            other = builder.shuffle_vector(total, undefined, _order([(i + half) % LANES for i in range(LANES)]))
            total, half = builder.fadd(total, other), half // 2
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float64(x), generate


SIGNIFICAND_BITS, EXPONENT_BIAS = 23, 127  # the layout of float32


@intrinsic
def exponent(typing, x):
    """``exponent(x)``: power of two of the leading bit of positive float32 lanes, x = significand · 2^exponent."""

    def generate(context, builder, signature, arguments):
        pattern = builder.bitcast(arguments[0], _vector(types.int32))
        shifted = builder.lshr(pattern, _constant(types.int32, SIGNIFICAND_BITS))
        return builder.sitofp(builder.sub(shifted, _constant(types.int32, EXPONENT_BIAS)), _vector(types.float32))

    return x(x), generate


@intrinsic
def significand(typing, x):
    """``significand(x)``: positive float32 lanes scaled into [1, 2), x = significand · 2^exponent."""

    def generate(context, builder, signature, arguments):
        pattern = builder.bitcast(arguments[0], _vector(types.int32))
        fraction = builder.and_(pattern, _constant(types.int32, (1 << SIGNIFICAND_BITS) - 1))
        one = _constant(types.int32, EXPONENT_BIAS << SIGNIFICAND_BITS)
        return builder.bitcast(builder.or_(fraction, one), _vector(types.float32))

    return x(x), generate
