-- Delivers events to a unix socket instead of over HTTP: one event a line, as JSON.
--
--   EVENT_SOCKET=/run/bot/events.sock tidegate run examples/scripts/events_to_socket.lua
--
-- Whoever listens there accepts one connection from each worker and reads lines such as
--
--   {"shardId":0,"totalShards":1,"epoch":1798761607,"message":{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{...}}}
--
-- There are no answers: an event counts as delivered once it is written. While nobody listens, events wait
-- in memory, up to LIMIT; after that new ones are dropped and counted. Where none may ever be lost use an
-- event handler over HTTP: it gives each event back until the bot has accepted it.
--
-- The socket never blocks, since a script that waited here would hold up the heartbeats of all shards. What
-- the kernel does not take at once is tried again with the next event, and 20 times a second.

local gateway = require "tidegate"
local ffi = require "ffi" -- LuaJIT's way to call functions of C

local PATH = os.getenv "EVENT_SOCKET" or "/run/bot/events.sock"
local LIMIT = 16 * 1024 * 1024 -- bytes that may wait
local FLUSH = 50 -- ms
local RECONNECT = 1000 -- ms

gateway.configure {
  intents = { "guilds", "guild_messages" },
}

-- ---- the socket ----

ffi.cdef [[
  struct sockaddr_un { unsigned short family; char path[108]; };
  int socket(int domain, int type, int protocol);
  int connect(int fd, const struct sockaddr_un *address, unsigned length);
  long send(int fd, const char *bytes, size_t length, int flags);
  int close(int fd);
]]

local AF_UNIX, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC = 1, 1, 0x800, 0x80000
local MSG_NOSIGNAL = 0x4000
local EINTR, EAGAIN = 4, 11

assert(#PATH < 108, "EVENT_SOCKET: a unix socket's path has at most 107 bytes")
local address = ffi.new("struct sockaddr_un", AF_UNIX, PATH)

local fd -- nil: not connected
local connected_before = true

local function disconnect()
  if fd then
    ffi.C.close(fd)
    fd = nil
  end
end

local function connect()
  local new = ffi.C.socket(AF_UNIX, SOCK_STREAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0)
  if new >= 0 and ffi.C.connect(new, address, ffi.sizeof(address)) == 0 then
    fd = new
    gateway.log.info("connected to %s", PATH)
    connected_before = true
    return
  end
  if new >= 0 then
    ffi.C.close(new)
  end
  if connected_before then
    gateway.log.warn("nobody listens at %s; events wait", PATH)
    connected_before = false
  end
end

-- ---- the queue: lines[first] to lines[last]; `sent` bytes of the first one are written already ----

local lines, first, last, sent = {}, 1, 0, 0
local waiting_bytes = 0
local dropped = gateway.metrics.counter("socket_events_dropped", { help = "Events that met a full queue." })
local dropped_now = 0

local function flush()
  while fd and first <= last do
    local line = lines[first]
    local start = ffi.cast("const char *", line) + sent
    local n = tonumber(ffi.C.send(fd, start, #line - sent, MSG_NOSIGNAL))
    if n < 0 then
      local errno = ffi.errno()
      if errno == EAGAIN then
        return -- the other side is slow: later
      end
      if errno ~= EINTR then
        sent = 0 -- the next connection gets this line from its beginning
        gateway.log.warn("the connection to %s is broken (errno %d)", PATH, errno)
        disconnect()
      end
    else
      sent = sent + n
      if sent == #line then
        lines[first] = nil
        first, sent = first + 1, 0
        waiting_bytes = waiting_bytes - #line
      end
    end
  end
end

local function push(line)
  if waiting_bytes + #line > LIMIT then
    dropped:add()
    dropped_now = dropped_now + 1
    return
  end
  last = last + 1
  lines[last] = line
  waiting_bytes = waiting_bytes + #line
  if first == last then
    flush()
  end
end

-- ---- what the gateway calls ----

-- Each event that the filters let pass comes here. The default, which would put it into the queue of the
-- event handler, is not called. event.raw is the message as Discord sent it: no JSON is decoded or encoded.
function gateway.delivery:handle_discord_payload(_, event)
  push(('{"shardId":%d,"totalShards":%d,"epoch":%d,"message":%s}\n'):format(
    event.shard_id, event.total_shards, event.epoch, event.raw))
  return true
end

-- Only workers have events. "load" comes once the script is live, "unload" when a new version takes its
-- place.
if gateway.role == "worker" then
  gateway.on("load", function()
    -- What the last version of the script had not sent yet.
    for line in (gateway.state.waiting or ""):gmatch "[^\n]*\n" do
      push(line)
    end
    gateway.state.waiting = nil
    connect()
    flush()
    gateway.every(FLUSH, flush)
    gateway.every(RECONNECT, function()
      if not fd then
        connect()
        flush()
      end
    end)
    gateway.every(60 * 1000, function()
      if dropped_now > 0 then
        gateway.log.warn("%d events were dropped in the last minute: %d bytes wait for %s",
          dropped_now, waiting_bytes, PATH)
        dropped_now = 0
      end
    end)
  end)

  gateway.on("unload", function()
    flush()
    disconnect()
    gateway.state.waiting = table.concat(lines, "", first, last)
  end)
end
