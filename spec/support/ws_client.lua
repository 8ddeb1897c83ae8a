-- A WebSocket client that keeps no rules of its own: for trying what the fake Discord says to a client that
-- breaks them. Plain TCP only.
--
--   local client = ws_client.connect(fake.gateway, { query = "?v=10&encoding=json&compress=zlib-stream" })
--   client:wait_op(10)
--   client:send { op = 2, d = {...} }
--   client.messages      gateway messages so far: {op, t, s, d, raw}
--   client.frames        all frames: {opcode, fin, rsv, masked, payload}
--   client.pieces        WebSocket messages: their bytes
--   client.close_code, client.close_reason, client.ended ("eof", "reset"), client.status, client.headers

local cjson = require "cjson"
local ffi = require "ffi"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local uv = require "luv"

ffi.cdef [[
typedef struct {
  const char *next_in; unsigned avail_in; unsigned long total_in;
  char *next_out; unsigned avail_out; unsigned long total_out;
  const char *msg; void *state; void *zalloc; void *zfree; void *opaque;
  int data_type; unsigned long adler; unsigned long reserved;
} tg_spec_z_stream;
int inflateInit_(tg_spec_z_stream *stream, const char *version, int size);
int inflate(tg_spec_z_stream *stream, int flush);
int inflateEnd(tg_spec_z_stream *stream);
const char *zlibVersion(void);

typedef struct { const void *src; size_t size; size_t pos; } tg_spec_zstd_in;
typedef struct { void *dst; size_t size; size_t pos; } tg_spec_zstd_out;
void *ZSTD_createDCtx(void);
size_t ZSTD_freeDCtx(void *context);
size_t ZSTD_decompressStream(void *context, tg_spec_zstd_out *out, tg_spec_zstd_in *in);
unsigned ZSTD_isError(size_t code);
]]

local ROOM = 65536
local room = ffi.new("char[?]", ROOM)

-- Kept for good: finalizers of contexts call into them.
local zlib, zstd = ffi.load "libz.so.1", ffi.load "libzstd.so.1"

local inflaters = {}

inflaters["zlib-stream"] = function()
  local stream = ffi.gc(ffi.new "tg_spec_z_stream", zlib.inflateEnd)
  assert(zlib.inflateInit_(stream, zlib.zlibVersion(), ffi.sizeof(stream)) == 0)
  return function(bytes)
    local parts = {}
    stream.next_in, stream.avail_in = bytes, #bytes
    repeat
      stream.next_out, stream.avail_out = room, ROOM
      local code = zlib.inflate(stream, 2)
      if code ~= 0 and code ~= -5 then
        return nil, "zlib error " .. code
      end
      parts[#parts + 1] = ffi.string(room, ROOM - stream.avail_out)
    until stream.avail_out > 0
    return table.concat(parts)
  end, function(tail) return tail == "\0\0\255\255" end
end

inflaters["zstd-stream"] = function()
  local context = ffi.gc(zstd.ZSTD_createDCtx(), zstd.ZSTD_freeDCtx)
  return function(bytes)
    local parts = {}
    local input = ffi.new("tg_spec_zstd_in", { bytes, #bytes, 0 })
    local output
    repeat
      output = ffi.new("tg_spec_zstd_out", { room, ROOM, 0 })
      if zstd.ZSTD_isError(zstd.ZSTD_decompressStream(context, output, input)) ~= 0 then
        return nil, "zstd error"
      end
      parts[#parts + 1] = ffi.string(room, output.pos)
    until input.pos == input.size and output.pos < ROOM
    return table.concat(parts)
  end, function() return true end
end

local function plain()
  return function(bytes) return bytes end, function() return true end
end

local ws_client = {}

local Client = {}
Client.__index = Client

local function big_endian(bytes)
  local n = 0
  for i = 1, #bytes do
    n = n * 256 + bytes:byte(i)
  end
  return n
end

local function frame_bytes(opcode, payload, options)
  local length = #payload
  local first = (options.fin == false and 0 or 128) + (options.rsv or 0) * 16 + opcode
  local mask_bit = options.masked == false and 0 or 128
  local head
  if length < 126 then
    head = string.char(first, mask_bit + length)
  elseif length < 65536 then
    head = string.char(first, mask_bit + 126, math.floor(length / 256), length % 256)
  else
    head = string.char(first, mask_bit + 127, 0, 0, 0, 0, math.floor(length / 16777216) % 256,
      math.floor(length / 65536) % 256, math.floor(length / 256) % 256, length % 256)
  end
  -- A key of zeros is a key, and leaves the payload readable.
  return head .. (mask_bit == 128 and "\0\0\0\0" or "") .. payload
end

-- options: fin, rsv, masked.
function Client:send_frame(opcode, payload, options)
  self.stream:write(frame_bytes(opcode, payload, options or {}))
end

-- A gateway payload: a table, or text as it is.
function Client:send(payload)
  self:send_frame(1, type(payload) == "table" and cjson.encode(payload) or payload)
end

function Client:close(code, reason)
  local payload = code and string.char(math.floor(code / 256), code % 256) .. (reason or "") or ""
  self:send_frame(8, payload)
end

-- Ends TCP without a word.
function Client:drop()
  if not self.stream:is_closing() then
    self.stream:close()
  end
end

local function take_message(self, bytes)
  self.pieces[#self.pieces + 1] = bytes
  local text, problem = self.inflate(bytes)
  if not text then
    self.broken = problem
    return
  end
  self.text = self.text .. text
  self.tail = (self.tail .. bytes):sub(-4) -- the end may be in pieces, too
  if not self.is_complete(self.tail) then
    return
  end
  local ok, message = pcall(cjson.decode, self.text)
  message = ok and message or { bad = true }
  message.raw = self.text
  self.text = ""
  self.messages[#self.messages + 1] = message
end

local function take_frame(self, frame)
  self.frames[#self.frames + 1] = frame
  if frame.opcode == 8 then
    self.close_code = #frame.payload >= 2 and big_endian(frame.payload:sub(1, 2)) or 0
    self.close_reason = frame.payload:sub(3)
    if not self.silent and not self.stream:is_closing() then
      self:send_frame(8, frame.payload)
    end
  elseif frame.opcode < 8 and not self.broken then
    self.parts[#self.parts + 1] = frame.payload
    if frame.fin then
      local bytes = table.concat(self.parts)
      self.parts = {}
      take_message(self, bytes)
    end
  end
end

local function take_frames(self)
  while true do
    local buffer = self.buffer
    if #buffer < 2 then
      return
    end
    local first, second = buffer:byte(1, 2)
    local length, at = second % 128, 2
    if length >= 126 then
      local wide = length == 126 and 2 or 8
      if #buffer < 2 + wide then
        return
      end
      length, at = big_endian(buffer:sub(3, 2 + wide)), 2 + wide
    end
    at = at + (second >= 128 and 4 or 0)
    if #buffer < at + length then
      return
    end
    self.buffer = buffer:sub(at + length + 1)
    take_frame(self, {
      opcode = first % 16,
      fin = first >= 128,
      rsv = math.floor(first / 16) % 8,
      masked = second >= 128,
      payload = buffer:sub(at + 1, at + length),
    })
  end
end

local function take_head(self)
  local head, rest = self.buffer:match "^(.-\r\n\r\n)(.*)$"
  if not head then
    return false
  end
  self.status = tonumber(head:match "^HTTP/1%.1 (%d+)")
  self.headers = {}
  for name, value in head:gmatch "([%w%-]+): ([^\r]*)\r\n" do
    self.headers[name:lower()] = value
  end
  self.buffer = rest
  return true
end

local function on_data(self, chunk)
  self.bytes = self.bytes + #chunk
  self.buffer = self.buffer .. chunk
  if not self.status and not take_head(self) then
    return
  end
  if self.status == 101 then
    take_frames(self)
  else
    self.body = self.buffer
  end
end

local function request(target, options)
  local path = options.target or "/" .. (options.query or "?v=10&encoding=json")
  local lines = { ("GET %s HTTP/1.1"):format(path) }
  local headers = {
    Host = target.name,
    Upgrade = "websocket",
    Connection = "Upgrade",
    ["Sec-WebSocket-Version"] = "13",
    ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==",
  }
  for name, value in pairs(options.headers or {}) do
    headers[name] = value or nil
  end
  for name, value in pairs(headers) do
    lines[#lines + 1] = ("%s: %s"):format(name, value)
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Starts a connection and returns at once. options: query, or target (the whole request target), headers
-- (false takes one away), silent (does not answer Close frames).
function ws_client.open(url, options)
  options = options or {}
  local target = http.parse_url((url:gsub("^ws", "http")))
  local compress = (options.query or ""):match "compress=([%w%-]+)"
  local self = setmetatable({
    messages = {}, frames = {}, pieces = {}, parts = {}, buffer = "", text = "", tail = "", bytes = 0,
    silent = options.silent,
  }, Client)
  self.inflate, self.is_complete = (inflaters[compress] or plain)()
  self.stream = uv.new_tcp()
  self.stream:nodelay(true)
  self.stream:connect(target.host, target.port, loop.callback(function(problem)
    if problem then
      self.ended = "refused"
      return
    end
    self.stream:write(request(target, options))
    self.stream:read_start(loop.callback(function(broken, chunk)
      if chunk then
        on_data(self, chunk)
        return
      end
      self.ended = broken and "reset" or "eof"
      self:drop()
    end))
  end))
  return self
end

-- open(), and waits for the answer to the upgrade.
function ws_client.connect(url, options)
  local self = ws_client.open(url, options)
  loop.wait_for("the answer to an upgrade", function() return self.status or self.ended end, nil, 2)
  return self
end

-- Waits for a message, of those not looked at yet, that satisfies the predicate.
function Client:wait_message(description, predicate, timeout)
  self.at = self.at or 1
  local found
  loop.wait_for(function()
    local last = self.messages[#self.messages]
    return ("%s; %d messages came, the last was %s; close code %s, %s"):format(description, #self.messages,
      last and last.raw:sub(1, 300) or "-", tostring(self.close_code), tostring(self.ended or "still open"))
  end, function()
    while not found and self.messages[self.at] do
      found = predicate(self.messages[self.at]) and self.messages[self.at]
      self.at = self.at + 1
    end
    return found
  end, timeout, 2)
  return found
end

function Client:wait_op(op)
  return self:wait_message("op " .. op, function(message) return message.op == op end)
end

function Client:wait_event(name)
  return self:wait_message(name, function(message) return message.t == name end)
end

function Client:wait_end()
  loop.wait_for("the end of the connection", function() return self.ended end, nil, 2)
  return self.close_code
end

-- The dispatches so far.
function Client:events(name)
  local events = {}
  for _, message in ipairs(self.messages) do
    if message.op == 0 and (not name or message.t == name) then
      events[#events + 1] = message
    end
  end
  return events
end

return ws_client
