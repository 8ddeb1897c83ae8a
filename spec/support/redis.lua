-- Redis servers of a spec's own.
--
--   local redis = require "spec.support.redis"
--   local server = redis.start { password = "geheim", appendonly = true, maxmemory = "4mb" }
--   server:url { password = "geheim", db = 2 }      "redis://:geheim@127.0.0.1:41234/2"
--   server:command("XLEN", "tidegate:4:0")          the reply; an error of Redis is raised
--   redis.wait_for("ten entries", function() return server:command("XLEN", key) == 10 end)
--   server:kill()       server:stop()       server:restart()       server:restart { empty = true }
--   server:freeze()     server:thaw()
--   local replica = redis.start()
--   replica:replica_of(server)                      returns when it has all that the server has
--   replica:promote()
--
-- Each has a directory of its own, no configuration but what the spec says, and listens on loopback or on a
-- unix socket. Its port stays its own while it is down. It ends with the scene (spec/support/scene.lua), or
-- by redis.teardown().

local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local resp = require "spec.support.resp"
local uv = require "luv"

local redis = {}

local Server = {}
Server.__index = Server

local started = {}

-- The spec's own commands come over a unix socket, by a user of their own: whatever becomes of the others.
local USER, PASSWORD = "spec", "spec"

-- The address stays taken: the kernel gives it to nobody, and who connects while no Redis listens is refused.
local function hold_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  return socket, socket:getsockname().port
end

local function append_only(value)
  if not value then
    return "no", "everysec"
  end
  return "yes", value == true and "everysec" or value
end

-- Certificates of the fake Discord's making, good for localhost and 127.0.0.1.
local function certificates(tls)
  if type(tls) == "string" then
    return tls:match "^(.*)/[^/]*$"
  end
  local fake = fake_discord.start { tls = true }
  fake:stop()
  return fake.ca:match "^(.*)/[^/]*$"
end

local function write_config(self, options)
  local appendonly, fsync = append_only(options.appendonly)
  local lines = {
    "daemonize no", "supervised no", "bind 127.0.0.1", "protected-mode no", 'logfile ""', 'save ""',
    "dir " .. self.dir, "pidfile " .. self.dir .. "/redis.pid",
    "unixsocket " .. self.socket, "unixsocketperm 700",
    "appendonly " .. appendonly, "appendfsync " .. fsync,
    "repl-diskless-sync-delay 0", "masteruser " .. USER, "masterauth " .. PASSWORD,
    ("user %s on >%s ~* &* +@all"):format(USER, PASSWORD),
    ("%s %d"):format(options.tls and "tls-port" or "port", self.port or 0),
  }
  local function add(...)
    lines[#lines + 1] = table.concat({ ... }, " ")
  end
  if options.tls then
    local dir = certificates(options.tls)
    self.ca = dir .. "/ca.pem"
    add "port 0"
    add("tls-cert-file", dir .. "/cert.pem")
    add("tls-key-file", dir .. "/key.pem")
    add("tls-ca-cert-file", self.ca)
    add "tls-auth-clients no"
    add "tls-replication yes"
  end
  if options.password then
    add("requirepass", options.password)
  end
  if options.maxmemory then
    add("maxmemory", options.maxmemory)
  end
  for _, user in ipairs(options.users or {}) do
    add("user", user)
  end
  for name, value in pairs(options.config or {}) do
    add(name, value)
  end
  self.config = paths.write(self.dir .. "/redis.conf", table.concat(lines, "\n") .. "\n")
end

-- ---- commands ----

local function disconnect(self)
  if self.pipe and not self.pipe:is_closing() then
    self.pipe:close()
  end
  self.pipe = nil
end

-- Nil and why not: nobody listens yet.
local function connect(self)
  local pipe, problem, connected = uv.new_pipe(false), nil, nil
  pipe:connect(self.socket, loop.callback(function(err)
    problem, connected = err, not err
  end))
  loop.wait_for("a connection to Redis", function() return problem or connected end)
  if problem then
    pipe:close()
    return nil, problem
  end
  local reader = resp.reader()
  self.pipe, self.replies = pipe, {}
  pipe:read_start(loop.callback(function(err, bytes)
    if err or not bytes then
      return disconnect(self)
    end
    for reply in reader:feed(bytes) do
      self.replies[#self.replies + 1] = reply
    end
  end))
  pipe:write(resp.command("AUTH", USER, PASSWORD))
  loop.wait_for("Redis' answer to AUTH", function() return not self.pipe or self.replies[1] end)
  if not self.pipe then
    return nil, "closed"
  end
  assert(table.remove(self.replies, 1) == "OK")
  return true
end

local function plain(reply)
  if reply == resp.null then
    return false
  elseif type(reply) == "table" and not reply.error then
    for i, part in ipairs(reply) do
      reply[i] = plain(part)
    end
  end
  return reply
end

-- The replies to several commands that go out in one piece; errors are { error = "..." } there.
function Server:pipeline(commands)
  if not self.pipe then
    local ok, problem = connect(self)
    if not ok then
      error(("Redis on %s cannot be reached: %s"):format(self.socket, problem), 2)
    end
  end
  local out = {}
  for i, command in ipairs(commands) do
    out[i] = resp.command(unpack(command))
  end
  self.pipe:write(out)
  loop.wait_for(function()
    return ("%d replies of Redis, to %s ..."):format(#commands, table.concat(commands[1], " "):sub(1, 200))
  end, function() return not self.pipe or #self.replies >= #commands end, 20000, 2)
  if not self.pipe then
    error("Redis closed the connection at " .. table.concat(commands[1], " "):sub(1, 200), 2)
  end
  local replies = self.replies
  self.replies = {}
  return plain(replies)
end

-- The reply: a string, a number, a list, or false for none. As the database 0 has it.
function Server:command(...)
  local reply = self:pipeline { { ... } }[1]
  if type(reply) == "table" and reply.error then
    error(("Redis refuses %s: %s"):format(table.concat({ ... }, " "):sub(1, 200), reply.error), 2)
  end
  return reply
end

-- What INFO says, by name: server:info("replication").role
function Server:info(section)
  local values = {}
  for name, value in self:command("INFO", section):gmatch "([%w_]+):([^\r\n]*)" do
    values[name] = value
  end
  return values
end

-- A hash, or the answer of a command that lists names and values, as a table.
function Server:fields(...)
  local list, fields = self:command(...), {}
  for i = 1, #list, 2 do
    fields[list[i]] = list[i + 1]
  end
  return fields
end

-- The entries of a stream, in order: { id = "1-2", fields = { t = "READY", ... } }.
function Server:stream(key, from, to)
  local entries = {}
  for i, entry in ipairs(self:command("XRANGE", key, from or "-", to or "+")) do
    local fields = {}
    for k = 1, #entry[2], 2 do
      fields[entry[2][k]] = entry[2][k + 1]
    end
    entries[i] = { id = entry[1], fields = fields }
  end
  return entries
end

-- Asks again and again until predicate() is true, and returns that.
function redis.wait_for(description, predicate, timeout)
  local deadline = loop.now() + (timeout or 20000) * paths.slow
  while true do
    local value = predicate()
    if value then
      return value
    elseif loop.now() > deadline then
      error("waited in vain for " .. description, 2)
    end
    local next_look = loop.now() + 20
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
end

-- ---- life and death ----

local function run(self)
  disconnect(self)
  uv.fs_unlink(self.socket)
  self.process = process.start({ "redis-server", self.config }, { cwd = self.dir, env = self.env })
  self.process:wait_for_output("(eady to accept connections)", "stdout", 20000)
end

-- options: unix (listens on a unix socket alone), tls (true, or the path of the CA file of a fake Discord
-- whose certificates are to be used), password (of the user "default"), users (lines of ACL rules, such as
-- "app on >secret ~* +@all"), appendonly (true, or "always": fsync at each command), maxmemory, config (a
-- table of more settings), env (of the process).
function redis.start(options)
  options = options or {}
  local self = setmetatable({ dir = paths.tmp(), tls = options.tls and true, env = options.env }, Server)
  started[#started + 1] = self
  self.socket = self.dir .. "/redis.sock"
  if not options.unix then
    self.held, self.port = hold_port()
  end
  write_config(self, options)
  run(self)
  return self
end

local function encode(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- login: user, password, db, host (of TLS: "localhost").
function Server:url(login)
  login = login or {}
  local user = ""
  if login.user or login.password then
    user = ("%s:%s@"):format(encode(login.user or ""), encode(login.password or ""))
  end
  if not self.port then
    return ("redis+unix://%s%s%s"):format(user, self.socket, login.db and "?db=" .. login.db or "")
  end
  local host = login.host or self.tls and "localhost" or "127.0.0.1"
  return ("%s://%s%s:%d/%d"):format(self.tls and "rediss" or "redis", user, host, self.port, login.db or 0)
end

-- SIGKILL, and it is gone. Without appendonly all is lost.
function Server:kill()
  self.process:kill "sigkill"
  self.process:wait(nil, 2)
  disconnect(self)
end

-- As a service is stopped; with `save` a restart finds all that was there.
function Server:stop(save)
  if save then
    self:command "SAVE"
  end
  self.process:kill "sigterm"
  self.process:wait(nil, 2)
  disconnect(self)
end

-- It runs again on its port: with what was saved or appended, or, with `empty`, nothing. Kills it if it runs.
function Server:restart(how)
  self:kill()
  if how and how.empty then
    process.run { "rm", "-rf", self.dir .. "/appendonlydir", self.dir .. "/dump.rdb" }
  end
  run(self)
end

-- Its sockets stay open, and it does nothing.
function Server:freeze()
  self.process:kill "sigstop"
end

function Server:thaw()
  self.process:kill "sigcont"
end

-- Returns when the replica has what the other one has.
function Server:replica_of(other)
  assert(other.port, "a replica needs a port, not a unix socket")
  self:command("REPLICAOF", "127.0.0.1", other.port)
  self:wait_replicated(other)
end

function Server:wait_replicated(other)
  local deadline = loop.now() + 20000 * paths.slow
  repeat
    assert(loop.now() < deadline, "the replica does not follow")
    other:command("WAIT", 1, 50)
    local mine, its = self:info "replication", other:info "replication"
  until mine.master_link_status == "up" and mine.slave_repl_offset == its.master_repl_offset
end

-- The replica is the master from here on; nobody else is told.
function Server:promote()
  self:command("REPLICAOF", "NO", "ONE")
end

-- Ends every server of the spec.
function redis.teardown()
  for _, self in ipairs(started) do
    disconnect(self)
    self.process:kill "sigkill"
    self.process:wait()
    if self.held then
      self.held:close()
    end
  end
  started = {}
end

return redis
