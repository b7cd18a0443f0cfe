"""Screens find which of many pairs can be among the most similar: integer products, compared with limits in registers.

A screen takes a few songs as rows and a panel of 64 songs as columns. It multiplies their codes, adds the offsets of
both, and sets bit j of the mask of row i where the sum reaches the smaller limit of the two: only then can either song
enter the other's list. The two screens differ in the instructions alone, and give the same masks.

Codes of rows are int8 [N, K], those of columns uint8 (128 more) in panels [N / 64, K / 4, 64, 4]: four neighbouring
coordinates of 64 songs stand together, as both instruction sets need them.

Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, VPDPBUSD and TDPBSUD; Linux, arch_prctl(2) and
Documentation/arch/x86/xstate.rst for the permission to use tiles.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from musicrec.simd.lanes import LANES

PANEL = 64  # songs
DEVICE = "tensorflow"  # products on a GPU: see gpu_screen.py
OF_FLOATS = ("product", DEVICE)  # screens with float32 codes; all others have 8-bit codes
VNNI_ROWS, TILE_ROWS = 6, 32  # songs that a screen takes at once

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
VECTOR = ir.VectorType(I32, LANES)

# --- emitting ---------------------------------------------------------------------------------------------------------


def _index(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def _spread(builder, scalar) -> ir.Value:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(VECTOR, [0] * LANES))


def _load_vector(builder, pointer, align) -> ir.Value:
    return builder.load(builder.bitcast(pointer, VECTOR.as_pointer()), align=align)


def _data(context, builder, array_type, array) -> ir.Value:
    return context.make_array(array_type)(context, builder, array).data


def _store_mask(builder, sums, limits, row_limit, masks, row) -> ir.Value:
    """Compare the sums of a row with the smaller limit of each pair, 16 columns a vector; return the mask."""
    of_row = _spread(builder, row_limit)
    mask = _index(0)
    for v, (total, of_columns) in enumerate(zip(sums, limits, strict=True)):
        smaller = builder.select(builder.icmp_signed("<", of_row, of_columns), of_row, of_columns)
        bits = builder.zext(builder.bitcast(builder.icmp_signed(">=", total, smaller), I16), I64)
        mask = builder.or_(mask, builder.shl(bits, _index(LANES * v)))
    builder.store(mask, builder.gep(masks, [row]))
    return mask


Emit = Callable[..., ir.Value]


def _screen(emit: Emit) -> Any:
    """Make a numba function from a function that emits its instructions.

    ``screen(codes, i, panels, p, starts, limits, offsets, column_limits, masks)``: rows i … of `codes` against panel p;
    `starts` and `limits` are int32 of the rows, `offsets` and `column_limits` of the columns; `masks` uint64 receives
    one mask for each row. Returns the union of the masks.
    """

    @intrinsic
    def screen(typing, codes, i, panels, p, starts, limits, offsets, column_limits, masks):
        def generate(context, builder, signature, arguments):
            data = [
                _data(context, builder, kind, value) if isinstance(kind, types.Array) else value
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            width = builder.extract_value(context.make_array(codes)(context, builder, arguments[0]).shape, 1)
            codes_, i_, panels_, p_, starts_, limits_, offsets_, column_limits_, masks_ = data
            first_column = builder.mul(p_, _index(PANEL))
            return emit(
                builder,
                width,
                builder.gep(codes_, [builder.mul(i_, width)]),
                builder.gep(panels_, [builder.mul(first_column, width)]),
                builder.gep(starts_, [i_]),
                builder.gep(limits_, [i_]),
                [builder.gep(offsets_, [builder.add(first_column, _index(at))]) for at in range(0, PANEL, LANES)],
                [builder.gep(column_limits_, [builder.add(first_column, _index(at))]) for at in range(0, PANEL, LANES)],
                masks_,
            )

        kinds = (codes, types.intp, panels, types.intp, starts, limits, offsets, column_limits, masks)
        return types.uint64(*kinds), generate

    return screen


# --- AVX-512 VNNI -----------------------------------------------------------------------------------------------------


def _emit_vnni(builder, width, codes, panel, starts, limits, offsets, column_limits, masks) -> ir.Value:
    """Keep the sums of six rows by four vectors of columns in 24 registers; coordinates pass by, four at a time."""
    kind = ir.FunctionType(VECTOR, [VECTOR, VECTOR, VECTOR])
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    vectors = range(PANEL // LANES)
    of_columns = [_load_vector(builder, offset, 4) for offset in offsets]
    sums = [[cgutils.alloca_once(builder, VECTOR) for _ in vectors] for _ in range(VNNI_ROWS)]
    for row in range(VNNI_ROWS):
        start = _spread(builder, builder.load(builder.gep(starts, [_index(row)])))
        for v in vectors:
            builder.store(builder.add(start, of_columns[v]), sums[row][v])
    rows = [builder.gep(codes, [builder.mul(_index(row), width)]) for row in range(VNNI_ROWS)]
    with cgutils.for_range(builder, builder.lshr(width, _index(2))) as loop:
        four = builder.gep(panel, [builder.mul(loop.index, _index(4 * PANEL))])
        columns = [_load_vector(builder, builder.gep(four, [_index(4 * LANES * v)]), 4) for v in vectors]
        for row in range(VNNI_ROWS):
            at = builder.gep(rows[row], [builder.mul(loop.index, _index(4))])
            code = _spread(builder, builder.load(builder.bitcast(at, I32.as_pointer()), align=4))
            for v in vectors:
                product = builder.call(multiply_add, [builder.load(sums[row][v]), columns[v], code])
                builder.store(product, sums[row][v])
    of_columns = [_load_vector(builder, limit, 4) for limit in column_limits]
    union = _index(0)
    for row in range(VNNI_ROWS):
        totals = [builder.load(total) for total in sums[row]]
        limit = builder.load(builder.gep(limits, [_index(row)]))
        union = builder.or_(union, _store_mask(builder, totals, of_columns, limit, masks, _index(row)))
    return union


# --- AMX --------------------------------------------------------------------------------------------------------------

TILE, TILE_BYTES = 16, 64  # rows of a tile, and bytes of a row


def _tile_call(builder, name, kinds, arguments) -> ir.Value:
    kind = ir.FunctionType(ir.VoidType(), kinds)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


def _tile(number: int) -> ir.Constant:
    return ir.Constant(I8, number)


def _load_tile(builder, number, pointer, stride) -> None:
    _tile_call(builder, "tileloadd64", [I8, I8.as_pointer(), I64], [_tile(number), pointer, stride])


def _emit_amx(builder, width, codes, panel, starts, limits, offsets, column_limits, masks) -> ir.Value:
    """Compute two by two tiles of 16 × 16 sums at once, from two tiles of rows and two of columns: eight in all."""
    scratch = cgutils.alloca_once(builder, ir.ArrayType(I8, 64 + 4 * TILE_ROWS * 2 * TILE))
    scratch = builder.ptrtoint(builder.bitcast(scratch, I8.as_pointer()), I64)
    scratch = builder.inttoptr(builder.and_(builder.add(scratch, _index(63)), _index(-64)), I8.as_pointer())
    halves = []
    for half in range(2):
        for number in range(4):
            _tile_call(builder, "tilezero", [I8], [_tile(number)])
        with cgutils.for_range(builder, builder.lshr(width, _index(6))) as loop:
            at = builder.mul(loop.index, _index(TILE_BYTES))
            for k in range(2):
                rows = builder.gep(codes, [builder.add(at, builder.mul(_index(TILE * k), width))])
                _load_tile(builder, 4 + k, rows, width)
                columns = builder.add(builder.mul(at, _index(PANEL)), _index(TILE_BYTES * (2 * half + k)))
                _load_tile(builder, 6 + k, builder.gep(panel, [columns]), _index(4 * PANEL))
            for number in range(4):
                operands = [_tile(number), _tile(4 + number // 2), _tile(6 + number % 2)]
                _tile_call(builder, "tdpbsud", [I8, I8, I8], operands)
        for number in range(4):
            at = builder.gep(scratch, [_index(TILE_BYTES * (2 * TILE * (number // 2) + number % 2))])
            _tile_call(builder, "tilestored64", [I8, I8.as_pointer(), I64], [_tile(number), at, _index(2 * TILE_BYTES)])
        halves.append(_emit_masks(builder, scratch, starts, limits, offsets, column_limits, masks, half))
    return builder.or_(*halves)


def _emit_masks(builder, scratch, starts, limits, offsets, column_limits, masks, half) -> ir.Value:
    """Compare 32 rows by 32 columns of sums; the second half of the columns is added to the masks of the first."""
    vectors = (2 * half, 2 * half + 1)
    of_columns = [_load_vector(builder, offsets[v], 4) for v in vectors]
    their_limits = [_load_vector(builder, column_limits[v], 4) for v in vectors]
    union = cgutils.alloca_once_value(builder, _index(0))
    with cgutils.for_range(builder, _index(TILE_ROWS)) as loop:
        row = loop.index
        start = _spread(builder, builder.load(builder.gep(starts, [row])))
        limit = _spread(builder, builder.load(builder.gep(limits, [row])))
        mask = _index(0)
        for v in range(2):
            at = builder.gep(scratch, [builder.add(builder.mul(row, _index(2 * TILE_BYTES)), _index(TILE_BYTES * v))])
            total = builder.add(builder.add(_load_vector(builder, at, 64), of_columns[v]), start)
            smaller = builder.select(builder.icmp_signed("<", limit, their_limits[v]), limit, their_limits[v])
            bits = builder.zext(builder.bitcast(builder.icmp_signed(">=", total, smaller), I16), I64)
            mask = builder.or_(mask, builder.shl(bits, _index(LANES * (2 * half + v))))
        place = builder.gep(masks, [row])
        builder.store(builder.or_(mask, builder.load(place)) if half else mask, place)
        builder.store(builder.or_(builder.load(union), mask), union)
    return builder.load(union)


@intrinsic
def tiles_on(typing):
    """``tiles_on()``: give all eight tiles the shape of 16 rows of 64 bytes, in this thread."""

    def generate(context, builder, signature, arguments):
        shape = [1, *[0] * 15, *[TILE_BYTES, 0] * 8, *[0] * 16, *[TILE] * 8, *[0] * 8]
        config = cgutils.global_constant(builder, "tile_shapes", ir.Constant(ir.ArrayType(I8, 64), bytearray(shape)))
        _tile_call(builder, "ldtilecfg", [I8.as_pointer()], [builder.bitcast(config, I8.as_pointer())])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def tiles_off(typing):
    """``tiles_off()``: free the tiles, so that the system need not save them."""

    def generate(context, builder, signature, arguments):
        _tile_call(builder, "tilerelease", [], [])
        return context.get_dummy_value()

    return types.void(), generate


screen_vnni = _screen(_emit_vnni)
screen_amx = _screen(_emit_amx)

# --- what this machine has --------------------------------------------------------------------------------------------

ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18  # number of the system call on x86-64, and its arguments


@lru_cache
def available() -> tuple[str, ...]:
    """Return the screens that this machine has, the fastest first; ``product`` works everywhere."""
    features = llvm.get_host_cpu_features()
    has_vnni = features.get("avx512vnni", False) and features.get("avx512bw", False)
    has_tiles = has_vnni and features.get("amx-int8", False) and _may_use_tiles()
    return (*["amx"] * has_tiles, *["vnni"] * has_vnni, "product")


def _may_use_tiles() -> bool:
    try:
        return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0
    except (OSError, AttributeError):
        return False
