//! Navidrome's requests for similar songs, passed on to `musicrec serve` as they come, and its answers passed back.
//!
//! What each request means is decided by the service; here is only the way there: WebAssembly modules talk to Navidrome
//! by Extism, which keeps texts in its own memory and hands out their places, and reach the network by Navidrome's
//! function http_send, which takes and returns JSON with the bodies in base64.

const std = @import("std");

const Place = u64; // of a text in Extism's memory; 0 for none

extern "extism:host/env" fn input_length() u64;
extern "extism:host/env" fn input_load_u8(at: u64) u32;
extern "extism:host/env" fn input_load_u64(at: u64) u64;
extern "extism:host/env" fn length(place: Place) u64;
extern "extism:host/env" fn alloc(bytes: u64) Place;
extern "extism:host/env" fn load_u8(place: Place) u32;
extern "extism:host/env" fn load_u64(place: Place) u64;
extern "extism:host/env" fn store_u8(place: Place, byte: u32) void;
extern "extism:host/env" fn store_u64(place: Place, eight_bytes: u64) void;
extern "extism:host/env" fn output_set(place: Place, bytes: u64) void;
extern "extism:host/env" fn error_set(place: Place) void;
extern "extism:host/env" fn config_get(name: Place) Place;
extern "extism:host/user" fn http_send(request: Place) Place;

const usual_url = "http://127.0.0.1:8090";
const timeout_ms = 9_000; // Navidrome itself waits for ten seconds
const most_shown = 500; // bytes of an answer that is an error

/// Songs that sound like a song.
export fn nd_get_sonic_similar_tracks() i32 {
    return passed_on("/navidrome/similar");
}

/// Songs from one song to another.
export fn nd_find_sonic_path() i32 {
    return passed_on("/navidrome/path");
}

/// Songs for an instant mix.
export fn nd_get_similar_songs_by_track() i32 {
    return passed_on("/navidrome/mix");
}

const Request = struct { request: struct {
    method: []const u8,
    url: []const u8,
    headers: struct { @"Content-Type": []const u8, Authorization: ?[]const u8 },
    body: []const u8,
    timeoutMs: u32,
} };

const Response = struct {
    result: ?struct { statusCode: i32 = 0, body: []const u8 = "" } = null,
    @"error": []const u8 = "",
};

/// Send Navidrome's request to the service, and hand its answer over. Returns 0, or 1 with an error that says why.
fn passed_on(path: []const u8) i32 {
    var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
    defer arena.deinit();
    const memory = arena.allocator();
    const answer = answered(memory, path) catch |problem| {
        return failed(memory, &.{ "no request could be made, or its answer not read: ", @errorName(problem) });
    };
    if (answer.@"error".len > 0) return failed(memory, &.{ "musicrec cannot be reached: ", answer.@"error" });
    const result = answer.result orelse return failed(memory, &.{"Navidrome brought no answer of musicrec"});
    const content = decoded(memory, result.body) catch return failed(memory, &.{"the answer is not in base64"});
    if (result.statusCode != 200) {
        return failed(memory, &.{ "musicrec: ", content[0..@min(content.len, most_shown)] });
    }
    output_set(stored(content), content.len);
    return 0;
}

fn answered(memory: std.mem.Allocator, path: []const u8) !Response {
    const url = std.mem.trimEnd(u8, try setting(memory, "url") orelse usual_url, "/");
    const token = try setting(memory, "token");
    const request = try std.json.Stringify.valueAlloc(memory, Request{ .request = .{
        .method = "POST",
        .url = try std.mem.concat(memory, u8, &.{ url, path }),
        .headers = .{
            .@"Content-Type" = "application/json",
            .Authorization = if (token) |known| try std.mem.concat(memory, u8, &.{ "Bearer ", known }) else null,
        },
        .body = try encoded(memory, try input(memory)),
        .timeoutMs = timeout_ms,
    } }, .{ .emit_null_optional_fields = false });
    const answer = http_send(stored(request));
    return std.json.parseFromSliceLeaky(Response, memory, try loaded(memory, answer), .{ .ignore_unknown_fields = true });
}

fn failed(memory: std.mem.Allocator, parts: []const []const u8) i32 {
    error_set(stored(std.mem.concat(memory, u8, parts) catch "no memory"));
    return 1;
}

/// What the user has filled in; null if nothing.
fn setting(memory: std.mem.Allocator, name: []const u8) !?[]const u8 {
    const place = config_get(stored(name));
    if (place == 0) return null;
    const text = std.mem.trim(u8, try loaded(memory, place), " ");
    return if (text.len > 0) text else null;
}

fn encoded(memory: std.mem.Allocator, content: []const u8) ![]const u8 {
    const encoder = std.base64.standard.Encoder;
    return encoder.encode(try memory.alloc(u8, encoder.calcSize(content.len)), content);
}

fn decoded(memory: std.mem.Allocator, text: []const u8) ![]const u8 {
    const decoder = std.base64.standard.Decoder;
    const content = try memory.alloc(u8, try decoder.calcSizeForSlice(text));
    try decoder.decode(content, text);
    return content;
}

// Each call costs far more than a byte, so Extism's memory is read and written eight bytes at a time.

fn input(memory: std.mem.Allocator) ![]const u8 {
    const content = try memory.alloc(u8, @intCast(input_length()));
    const rest = content.len - content.len % 8;
    for (0..rest / 8) |i| std.mem.writeInt(u64, content[i * 8 ..][0..8], input_load_u64(i * 8), .little);
    for (content[rest..], rest..) |*byte, at| byte.* = @truncate(input_load_u8(at));
    return content;
}

fn loaded(memory: std.mem.Allocator, place: Place) ![]const u8 {
    const content = try memory.alloc(u8, @intCast(length(place)));
    const rest = content.len - content.len % 8;
    for (0..rest / 8) |i| std.mem.writeInt(u64, content[i * 8 ..][0..8], load_u64(place + i * 8), .little);
    for (content[rest..], rest..) |*byte, at| byte.* = @truncate(load_u8(place + at));
    return content;
}

fn stored(content: []const u8) Place {
    const place = alloc(content.len);
    const rest = content.len - content.len % 8;
    for (0..rest / 8) |i| store_u64(place + i * 8, std.mem.readInt(u64, content[i * 8 ..][0..8], .little));
    for (content[rest..], rest..) |byte, at| store_u8(place + at, byte);
    return place;
}
