-- A state directory in which somebody else has put things in the place of the gateway's files: it waits for
-- none of them, follows no link, and writes to nothing that is not its own.

local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

local OTHER, NOBODY = 12345, 65534
local SECRET = "what somebody else wrote"
local is_root = uv.getuid() == 0

-- What may lie there, and how it is put; `victim` has a file and a directory of others.
local KINDS = {
  { "pipe", function(path) return os.execute("mkfifo " .. path) == 0 end },
  { "link", function(path, victim) return uv.fs_symlink(victim .. "/file", path) end },
  { "link to a directory", function(path, victim) return uv.fs_symlink(victim .. "/directory", path) end },
  { "link to nothing", function(path, victim) return uv.fs_symlink(victim .. "/nothing", path) end },
  { "directory", function(path) return uv.fs_mkdir(path, 448) end },
  { "device", function(path) return os.execute(("mknod %s c 1 5 2>/dev/null"):format(path)) == 0 end },
}

local function new_victim()
  local victim = paths.tmp()
  paths.write(victim .. "/file", SECRET)
  assert(uv.fs_mkdir(victim .. "/directory", 448))
  return victim
end

local function assert_unharmed(victim)
  assert.equal(SECRET, paths.read(victim .. "/file"))
  assert.is_nil(uv.fs_scandir_next(uv.fs_scandir(victim .. "/directory")))
  assert.is_nil(uv.fs_stat(victim .. "/nothing"))
end

local function put(place, path, victim)
  for part in path:gmatch "()/" do
    uv.fs_mkdir(path:sub(1, part - 1), 448)
  end
  return place(path, victim)
end

local function literally(text)
  return (text:gsub("%p", "%%%0"))
end

local function new_state_dir()
  local dir = paths.tmp() .. "/state"
  assert(uv.fs_mkdir(dir, 448))
  return dir
end

-- A gateway that does not start.
local function refused(state_dir, pattern)
  local s = scene.start { ready = false, state_dir = state_dir }
  s.gateway.process:wait()
  assert.equal(78, s.gateway.exit_code, s.gateway.stderr)
  s.gateway:wait_for_log(pattern)
  scene.stop()
end

describe("in the place of", function()
  after_each(scene.stop)

  -- Without these there is no gateway.
  local NEEDED = { "lock", "shards", "log", "guilds" }

  for _, name in ipairs(NEEDED) do
    it(name .. ", nothing else is taken, and the start says what is to be done", function()
      for _, kind in ipairs(KINDS) do
        local is_fine = kind[1] == "directory" and (name == "log" or name == "guilds")
        local state_dir, victim = new_state_dir(), new_victim()
        if not is_fine and put(kind[2], state_dir .. "/" .. name, victim) then
          refused(state_dir, "error [^\n]*" .. literally(state_dir .. "/" .. name) .. " [^\n]*remove it")
          assert_unharmed(victim)
        end
      end
    end)
  end

  -- Without these there is: they are made anew, or done without.
  local DISPENSABLE = {
    "shards.new", "poison", "clock.json", ".clock.json.next", "identify.json", ".identify.json.next",
    "gateway_bot.json", ".gateway_bot.json.next", "dead.jsonl", "dead.jsonl.1", "guilds/0", "guilds/0.new",
    "log/worker-0.1-1", "log/worker-0.1-2/lock", "log/worker-0.1-3/cursor", "log/worker-0.1-4/cursor.next",
    "log/worker-0.1-5/0000000001.segment", "log/worker-0.1-6/cursor.worker-0",
  }

  for _, kind in ipairs(KINDS) do
    it(("the files that it can do without, a %s keeps the gateway from nothing"):format(kind[1]), function()
      local s = scene.start {}
      s.gateway:stop()
      local victim, done = new_victim(), 0
      for _, name in ipairs(DISPENSABLE) do
        os.remove(s.gateway.state_dir .. "/" .. name)
        done = done + (put(kind[2], s.gateway.state_dir .. "/" .. name, victim) and 1 or 0)
      end
      if done == 0 then
        pending "a device can only be made by root"
        return
      end
      assert.equal(#DISPENSABLE, done)
      s:again()
      assert.equal(1, s:counters().identifies) -- the session was resumed
      s.bot:answer(function(_, event) return event.t == "TYPING_START" and 413 or 200 end)
      s:type()
      s.gateway:wait_for_log "this event: it is lost: cannot write to [^\n]*dead.jsonl: it is [^\n]*remove"
      s.fake:emit { count = 20 }
      s:wait_delivered()
      assert.equal(0, (s.gateway:stop()))
      assert_unharmed(victim)
    end)
  end
end)

describe("a state directory", function()
  after_each(scene.stop)

  local AS_NOBODY = {
    "setpriv", "--pdeathsig", "KILL", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--",
  }

  local REFUSED, WARNED, FINE = "refused to", "warned of to", "fine for"
  local FOREIGN = "belongs to another user %(uid 12345%)[^\n]*chown"
  local OPEN = "can be written by others[^\n]*chmod go%-w"

  -- Its owner, group and mode; what it is, for whom, and what the gateway says.
  local ROWS = {
    { "of another user", OTHER, 0, "700", REFUSED, "root", FOREIGN },
    { "that all can write", 0, 0, "777", REFUSED, "root", OPEN },
    { "that a group can write", 0, OTHER, "770", REFUSED, "root", OPEN },
    { "that root's group can write", 0, 0, "770", FINE, "root" },
    { "that all can read", 0, 0, "755", FINE, "root" },
    { "that all can write", NOBODY, NOBODY, "777", WARNED, "nobody", OPEN },
    { "of another user", OTHER, NOBODY, "770", WARNED, "nobody", FOREIGN },
    { "of its own", NOBODY, NOBODY, "700", FINE, "nobody" },
  }

  for _, row in ipairs(ROWS) do
    local what, uid, gid, mode, verdict, who, says = unpack(row)
    it(("%s (%s) is %s %s"):format(what, mode, verdict, who), function()
      if not is_root then
        pending "only root can give directories away"
        return
      end
      local dir = paths.tmp()
      local state_dir = dir .. "/state"
      assert(uv.fs_mkdir(state_dir, 448))
      assert(uv.fs_chmod(dir, 493))
      assert(uv.fs_chown(state_dir, uid, gid))
      assert(uv.fs_chmod(state_dir, tonumber(mode, 8)))
      if verdict == REFUSED then
        refused(state_dir, "error [^\n]* the state directory " .. literally(state_dir) .. " " .. says)
        return
      end
      local s = scene.start { state_dir = state_dir, wrap = who == "nobody" and AS_NOBODY or nil }
      if says then
        s.gateway:wait_for_log("warn [^\n]*the state directory " .. says)
      else
        assert.equal(0, s.gateway:count_log "the state directory")
      end
    end)
  end

  it("may be named by a link", function()
    local state_dir, link = new_state_dir(), paths.tmp() .. "/link"
    assert(uv.fs_symlink(state_dir, link))
    scene.start { state_dir = link }
    assert.is_not_nil(uv.fs_stat(state_dir .. "/shards"))
  end)
end)
