-- The service manager's end of sd_notify: a datagram socket, by path or in the abstract name space.
--
--   local socket = notify_socket.open()           or open { abstract = true }
--   gateway.start { env = { NOTIFY_SOCKET = socket.name } }
--   socket:wait_for("READY=1")                    the message, as a table { READY = "1", STATUS = "..." }
--   socket.messages                               all so far; each with .at (ms) and .pid (of the sender)
--
-- By FFI, as the loop's binding has no datagrams in the unix domain.

local bit = require "bit"
local ffi = require "ffi"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

ffi.cdef [[
struct tg_spec_sockaddr_un { unsigned short family; char path[108]; };
struct tg_spec_iovec { void *base; size_t length; };
struct tg_spec_msghdr {
  void *name; unsigned name_length; struct tg_spec_iovec *parts; size_t part_count;
  void *control; size_t control_length; int flags;
};
struct tg_spec_credentials { size_t length; int level, type; int pid; unsigned uid, gid; };
int socket(int domain, int type, int protocol);
int bind(int fd, const struct tg_spec_sockaddr_un *address, unsigned length);
int setsockopt(int fd, int level, int name, const int *value, unsigned length);
ssize_t recvmsg(int fd, struct tg_spec_msghdr *message, int flags);
int close(int fd);
]]

local AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC = 1, 2, 0x80000
local SOL_SOCKET, SO_PASSCRED, MSG_DONTWAIT = 1, 16, 0x40
local SIZE = 4096

local notify_socket = {}

local Socket = {}
Socket.__index = Socket

local opened = {}
local names = 0

function notify_socket.open(options)
  local dir = paths.tmp()
  names = names + 1
  local self = setmetatable({ messages = {} }, Socket)
  self.name = options and options.abstract and ("@%s/%d"):format(dir, names) or ("%s/notify"):format(dir)
  self.fd = ffi.C.socket(AF_UNIX, bit.bor(SOCK_DGRAM, SOCK_CLOEXEC), 0)
  assert(self.fd >= 0, "socket")
  local address = ffi.new("struct tg_spec_sockaddr_un", { family = AF_UNIX })
  ffi.copy(address.path, self.name)
  if options and options.abstract then
    address.path[0] = 0
  end
  assert(ffi.C.bind(self.fd, address, ffi.offsetof(address, "path") + #self.name) == 0, "bind")
  assert(ffi.C.setsockopt(self.fd, SOL_SOCKET, SO_PASSCRED, ffi.new("int[1]", 1), 4) == 0, "SO_PASSCRED")
  opened[#opened + 1] = self
  return self
end

local function parse(text)
  local message = { at = loop.now(), text = text }
  for line in text:gmatch "[^\n]+" do
    local name, value = line:match "^([A-Z_]+)=(.*)$"
    assert(name, "not an assignment: " .. line)
    assert(not message[name], "twice in a message: " .. name)
    message[name] = value
  end
  return message
end

-- Takes in what has come.
function Socket:read()
  local data, control = ffi.new("char[?]", SIZE), ffi.new "struct tg_spec_credentials[1]"
  local part = ffi.new("struct tg_spec_iovec[1]", { { data, SIZE } })
  while true do
    local header = ffi.new("struct tg_spec_msghdr", {
      parts = part, part_count = 1, control = control, control_length = ffi.sizeof(control),
    })
    local n = ffi.C.recvmsg(self.fd, header, MSG_DONTWAIT)
    if n < 0 then
      return self.messages
    end
    local message = parse(ffi.string(data, n))
    message.pid = control[0].pid
    self.messages[#self.messages + 1] = message
  end
end

-- Waits for a message from number `from` (default 1) on that has the line ("READY=1"; after the sign stands a
-- pattern); returns it and its number.
function Socket:wait_for(line, from, timeout)
  local name, pattern = line:match "^([A-Z_]+)=(.*)$"
  local function look()
    self:read()
    for i = from or 1, #self.messages do
      local value = self.messages[i][name]
      if value and value:find("^" .. pattern .. "$") then
        return { self.messages[i], i }
      end
    end
  end
  local found = loop.wait_for(function()
    local texts = {}
    for i, message in ipairs(self.messages) do
      texts[i] = message.text:gsub("\n", " | ")
    end
    return ("the notification %s; so far:\n%s"):format(line, table.concat(texts, "\n"))
  end, look, timeout, 2)
  return found[1], found[2]
end

-- How many messages carry the name.
function Socket:count(name)
  local count = 0
  for _, message in ipairs(self:read()) do
    count = count + (message[name] and 1 or 0)
  end
  return count
end

function notify_socket.cleanup()
  for _, self in ipairs(opened) do
    ffi.C.close(self.fd)
  end
  opened = {}
end

return notify_socket
