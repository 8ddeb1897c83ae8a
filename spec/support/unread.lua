-- Output that nobody reads, of whatever kind, until the spec says so.
--
--   local output = unread.new "pty"
--   local s = scene.start { wrap = output:words(), ... }      the words in front of the program's own
--   output:read()                                             from now on somebody reads
--   output:text()                                             what came
--
-- Kinds: "pipe", "nonblocking" (a pipe that another program has set to O_NONBLOCK), "socket" (a stream, as
-- that of systemd's journal), "pty" (a terminal on which somebody has pressed Ctrl-S). Each is full when the
-- program starts. "gone": a pipe whose reader has ended.

local paths = require "spec.support.paths"

local unread = {}

local Output = {}
Output.__index = Output

-- Makes the thing, forks a keeper that holds its other end, and becomes the program.
local PROGRAM = [[
local kind, directory, target = arg[1], arg[2], tonumber(arg[3])
local ffi = require "ffi"
ffi.cdef "int pipe(int *fds); int socketpair(int domain, int type, int protocol, int *fds);"
ffi.cdef "int posix_openpt(int flags); int grantpt(int fd); int unlockpt(int fd); char *ptsname(int fd);"
ffi.cdef "int open(const char *path, int flags, ...); int close(int fd); int dup2(int from, int to);"
ffi.cdef "int fcntl(int fd, int command, ...); int poll(void *fds, unsigned long count, int timeout);"
ffi.cdef "int fork(void); int getppid(void);"
ffi.cdef "long read(int fd, void *bytes, size_t size); long write(int fd, const void *bytes, size_t size);"
ffi.cdef "int execvp(const char *file, char *const *argv); void _exit(int code);"
local C, fds = ffi.C, ffi.new "int[2]"
local O_RDWR, O_NOCTTY, O_NONBLOCK, F_SETFL = 2, 256, 2048, 4

if kind == "socket" then
  assert(C.socketpair(1, 1, 0, fds) == 0)
elseif kind == "pty" then
  fds[0] = C.posix_openpt(O_RDWR + O_NOCTTY)
  assert(C.grantpt(fds[0]) == 0 and C.unlockpt(fds[0]) == 0)
  fds[1] = C.open(C.ptsname(fds[0]), O_RDWR + O_NOCTTY)
  assert(C.write(fds[0], "\19", 1) == 1)
else
  assert(C.pipe(fds) == 0)
end
local other, own = fds[0], fds[1]

local function flags(number) assert(C.fcntl(own, F_SETFL, ffi.cast("int", number)) == 0) end
local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local program = C.getppid()
if kind ~= "gone" and C.fork() == 0 then
  for fd = 0, 2 do C.close(fd) end
  C.close(own)
  program = C.getppid()
  while not exists(directory .. "/read") and C.getppid() == program do C.poll(nil, 0, 10) end
  if kind == "pty" then C.write(other, "\17", 1) end
  local file, bytes = assert(io.open(directory .. "/text", "wb")), ffi.new "char[65536]"
  file:setvbuf "no"
  while true do
    local n = tonumber(C.read(other, bytes, 65536))
    if n <= 0 then break end
    file:write(ffi.string(bytes, n))
  end
  C._exit(0)
end
C.close(other)

if kind ~= "gone" then -- fill it
  flags(O_NONBLOCK)
  local dots = ("."):rep(99) .. "\n"
  while C.write(own, dots, #dots) == #dots do end
  flags(kind == "nonblocking" and O_NONBLOCK or 0)
end
C.dup2(own, target)
C.close(own)
local count = #arg - 3
local argv = ffi.new("char *[?]", count + 1)
for i = 1, count do argv[i - 1] = ffi.cast("char *", arg[i + 3]) end
C.execvp(argv[0], argv)
C._exit(127)
]]

function unread.new(kind)
  local self = setmetatable({ kind = kind, directory = paths.tmp() }, Output)
  paths.write(self.directory .. "/program.lua", PROGRAM)
  return self
end

-- What stands in front of the program's command line. It becomes its descriptor 2 (or `fd`).
function Output:words(fd)
  return { "luajit", self.directory .. "/program.lua", self.kind, self.directory, fd or 2 }
end

function Output:read()
  paths.write(self.directory .. "/read", "")
end

-- What has been read of the program's own.
function Output:text()
  local text = paths.read(self.directory .. "/text") or ""
  return (text:gsub("\r\n", "\n"):gsub("^%.[.\n]*\n", ""))
end

return unread
