-- What sinks have left that are not configured any more: told, shown, forgotten, and gone in time.

local cjson = require "cjson"
local ffi = require "ffi"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

ffi.cdef "int flock(int fd, int operation);"
local LOCK_EX_NB, LOCK_UN = 6, 8

local SHARDS, GUILDS, EVENTS = 2, 2, 10 -- EVENTS of each shard

local function script(queue)
  return ('require "tidegate".configure { queue = { %s } }\n'):format(queue or "")
end

local function status(s)
  return s.gateway:control("GET", "/status"):json()
end

local function ctl(s, ...)
  local address = s.gateway:control_url():gsub("^http://", "")
  return process.run({ paths.bin "tidegate", "ctl", ... }, { env = { TIDEGATE_CONTROL = address } })
end

local function await(s, what, predicate)
  s.fake:wait_for(what, function() return predicate() end, { only = "counters" })
end

local function await_left(s, names)
  local left
  await(s, "what is left", function()
    left = status(s).leftSinks
    return #left == #names
  end)
  for i, name in ipairs(names) do
    assert.equal(name, left[i].name)
  end
  return left
end

local function exists(path) return uv.fs_stat(path) ~= nil end

-- A gateway has run whose bot was down; what waits becomes what sinks of these names have left. They share
-- it.
local function leave(names, options)
  local s = scene.start {
    shards = SHARDS, per_worker = 1, workers = SHARDS, hurry = 20, script = script(),
    fake = { max_concurrency = SHARDS, guilds = GUILDS },
    bot = { answer = function() return 503 end },
  }
  s.fake:emit { count = EVENTS }
  local waiting
  await(s, "all of it to wait", function()
    waiting = status(s).queue.events
    return waiting == SHARDS * (EVENTS + 1) + GUILDS -- READY, too
  end)
  s.gateway:stop()
  local state_dir = s.gateway.state_dir
  assert(uv.fs_mkdir(state_dir .. "/sinks", 448))
  for _, name in ipairs(names) do
    local to = state_dir .. "/sinks/" .. name
    if #names == 1 then
      assert(uv.fs_rename(state_dir .. "/log", to))
    else
      assert(uv.fs_mkdir(to, 448))
      local log = uv.fs_scandir_next(uv.fs_scandir(state_dir .. "/log")) -- of one of the workers
      assert(uv.fs_rename(state_dir .. "/log/" .. log, to .. "/" .. log))
    end
  end
  s.bot:answer(nil)
  s:again(options)
  return s, waiting
end

describe("what a sink has left that is not configured any more", function()
  after_each(scene.stop)

  it("is told at each start and shown, and not delivered", function()
    local s, waiting = leave { "copy" }
    s.gateway:wait_for_log("the sink copy is not configured any more, and has left " .. waiting .. " events")
    local left = await_left(s, { "copy" })
    assert.equal(waiting, left[1].events)
    assert.is_true(left[1].bytes > 100 * waiting)
    local queue = cjson.decode(ctl(s, "queue", "--json").stdout)
    assert.same(left, queue.leftSinks)
    assert.same({ 1, "bot", "http", true, { s.bot.url } },
      { #queue.sinks, queue.sinks[1].name, queue.sinks[1].kind, queue.sinks[1].up, queue.sinks[1].urls })
    assert.matches("Not configured any more +Events left +Bytes\ncopy +" .. waiting .. " ",
      ctl(s, "queue", "--table").stdout)
    assert.matches("\ncopy +" .. waiting .. " ", ctl(s, "status", "--table").stdout)
    s.fake:emit { count = 1 }
    s.bot:wait_for_events(SHARDS, "MESSAGE_CREATE")
    assert.equal(SHARDS, #s.bot:select(function(event) return event.t == "MESSAGE_CREATE" end))
    s.gateway:stop()
    s:again()
    s.gateway:wait_for_log "the sink copy is not configured any more"
    await_left(s, { "copy" })
    assert.equal(1, s.gateway:count_log "is not configured any more")
  end)

  it("is forgotten when that is said", function()
    local s = leave { "archive", "copy" }
    await_left(s, { "archive", "copy" })
    for name, refused in pairs {
      bot = "the sink bot is configured", nothing = 'no sink "nothing" has left anything',
    } do
      local p = ctl(s, "queue", "forget", name)
      assert.equal(1, p.exit_code)
      assert.matches(refused, p.stderr, 1, true)
    end
    assert.equal(409, s.gateway:control("POST", "/sinks/bot/forget").status)
    assert.equal(404, s.gateway:control("POST", "/sinks/nothing/forget").status)
    assert.equal(404, s.gateway:control("POST", "/sinks/%2e%2e/forget").status)
    assert.same({ 0, "forgotten: what the sink copy had left\n" }, { (function()
      local p = ctl(s, "queue", "forget", "copy", "--table")
      return p.exit_code, p.stdout
    end)() })
    await_left(s, { "archive" })
    assert.is_false(exists(s.gateway.state_dir .. "/sinks/copy"))
    assert.is_true(exists(s.gateway.state_dir .. "/sinks/archive"))
    assert.equal(1, ctl(s, "queue", "forget", "copy").exit_code)
    assert.equal(1, s.gateway:count_log "what the sink copy had left is forgotten")
  end)

  it("is not left while a process has it", function()
    local s, waiting = leave({ "copy" }, { ready = false })
    s.gateway:stop "sigkill"
    local parent = s.gateway.state_dir .. "/sinks/copy"
    local lock = parent .. "/" .. uv.fs_scandir_next(uv.fs_scandir(parent)) .. "/lock"
    local holder = assert(uv.fs_open(lock, "r", 0))
    finally(function() uv.fs_close(holder) end)
    loop.wait_for("the old worker to be gone", function() return ffi.C.flock(holder, LOCK_EX_NB) == 0 end)
    s:again()
    local p = ctl(s, "queue", "forget", "copy")
    assert.equal(1, p.exit_code)
    assert.matches("is in use by another process", p.stderr, 1, true)
    assert.same({}, status(s).leftSinks)
    assert.equal(0, ffi.C.flock(holder, LOCK_UN))
    assert.equal(waiting, await_left(s, { "copy" })[1].events)
    assert.equal(0, ctl(s, "queue", "forget", "copy").exit_code)
  end)

  it("goes when the last of it is older than queue.max_age", function()
    local s = leave { "copy" }
    await_left(s, { "copy" })
    paths.write(s.gateway.script, script "max_age = 1000")
    assert.is_true((s.gateway:reload()))
    await_left(s, {})
    assert.is_false(exists(s.gateway.state_dir .. "/sinks/copy"))
    s.gateway:wait_for_log "what the sink copy has left is older than queue.max_age"
  end)

  it("goes at the next start, when the process was killed while it forgot", function()
    local s = leave({ "copy" }, { ready = false })
    s.gateway:stop "sigkill"
    local sinks = s.gateway.state_dir .. "/sinks"
    assert(uv.fs_rename(sinks .. "/copy", sinks .. "/.copy")) -- as its logs are called when they go
    s:again()
    loop.wait_for("the rest to go", function() return not exists(sinks .. "/.copy") end)
    assert.same({}, status(s).leftSinks)
    assert.equal(0, s.gateway:count_log "is not configured any more")
  end)
end)

describe("tidegate ctl queue forget", function()
  it("says without a gateway how it is done", function()
    local env = { TIDEGATE_CONTROL = "127.0.0.1:1", TIDEGATE_STATE_DIR = "/var/lib/bot" }
    local p = process.run({ paths.bin "tidegate", "ctl", "queue", "forget", "copy" }, { env = env })
    assert.equal(69, p.exit_code)
    local how = "remove the directory sinks/copy of its state directory, which is /var/lib/bot"
    assert.matches(how, p.stderr, 1, true)
  end)
end)
