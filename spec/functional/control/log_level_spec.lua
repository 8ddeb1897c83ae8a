-- The log level as somebody asks for it while everything runs: POST /log-level.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

describe("POST /log-level", function()
  after_each(scene.stop)

  local SCRIPT = [[
local gateway = require "tidegate"
gateway.on_broadcast("say", function(word)
  gateway.log.debug("debugging " .. word)
  gateway.log.warn("warning " .. word)
end)
gateway.filter("MESSAGE_CREATE", function() gateway.broadcast("say", "hello") return true end)
]]

  local function set(s, level)
    local answer = s.gateway:control("POST", "/log-level", { json = { level = level } })
    assert.equal(200, answer.status, answer.body)
    return cjson.decode(answer.body)
  end

  -- Which processes have logged what of a word: { ["manager debug"] = true, ... }
  local function heard(s, from, word)
    local found = {}
    for level, role in s.gateway.stderr:sub(from):gmatch("(%l+) +(%l+[ %d]*): %a+ing " .. word .. "\n") do
      found[role .. " " .. level] = true
    end
    return found
  end

  -- Has all processes say it, and waits until each has.
  local function say(s, processes)
    local from = #s.gateway.stderr + 1
    s.fake:emit { count = 1 }
    loop.wait_for("all processes to warn", function()
      local found = heard(s, from, "hello")
      for _, name in ipairs(processes) do
        if not found[name .. " warn"] then return false end
      end
      return true
    end)
    return heard(s, from, "hello")
  end

  local ALL = { "manager", "worker 0", "worker 1" }
  local QUIET = { ["manager warn"] = true, ["worker 0 warn"] = true, ["worker 1 warn"] = true }
  local LOUD = {
    ["manager warn"] = true, ["worker 0 warn"] = true, ["worker 1 warn"] = true,
    ["manager debug"] = true, ["worker 0 debug"] = true, ["worker 1 debug"] = true,
  }

  local function start()
    return scene.start {
      bot = false, reload = false, shards = 2, per_worker = 1, log_level = "info",
      fake = { max_concurrency = 2 }, script = SCRIPT,
    }
  end

  it("sets it in all processes, until the reload", function()
    local s = start()
    assert.same(QUIET, say(s, ALL))
    assert.same({ level = "debug", configured = "info" }, set(s, "debug"))
    assert.same(LOUD, say(s, ALL))
    assert.matches('manager: the log level is "debug" until the next reload or start', s.gateway.stderr)
    local config = cjson.decode(s.gateway:control("GET", "/config?key=log.level").body)
    assert.same({ { key = "log.level", value = "debug", from = "command" } }, config.values)
    paths.write(s.gateway.script, "x =")
    s.gateway:reload() -- fails, and changes nothing
    assert.same(LOUD, say(s, ALL))
    paths.write(s.gateway.script, SCRIPT)
    s.gateway:reload()
    assert.same(QUIET, say(s, ALL))
    assert.same({ level = "info", configured = "info" },
      cjson.decode(s.gateway:control("GET", "/log-level").body))
  end)

  it("sets it in a worker that starts meanwhile, and takes it back", function()
    local s = start()
    set(s, "debug")
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "shard %d: resumed"
    assert.same(LOUD, say(s, ALL))
    assert.same({ level = "info", configured = "info" }, set(s, cjson.null))
    assert.same(QUIET, say(s, ALL))
  end)

  it("says what it takes", function()
    local s = scene.start { bot = false, reload = false }
    for _, body in ipairs { '{"level":"loud"}', "{}", '{"level":3}' } do
      local answer = s.gateway:control("POST", "/log-level", { body = body })
      assert.equal(400, answer.status)
      assert.matches('expected {"level": "debug"}, or info, warn, error; null: as configured',
        cjson.decode(answer.body).error, 1, true)
    end
  end)
end)
