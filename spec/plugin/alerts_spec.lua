-- The bundled plugin `alerts` on the real gateway: what comes to its URL.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"
local webhook = require "spec.support.webhook"

local SHARDS = 6

local function script(config)
  return ('require("tidegate").plugin("alerts", { url = { env = "HOOK" }, %s })'):format(config)
end

describe("the plugin alerts", function()
  local hook

  local function start(config, options)
    options = options or {}
    hook = webhook.start()
    options.shards, options.per_worker, options.reload = SHARDS, 3, false
    options.env = { HOOK = hook.url .. "/api/webhooks/1/hook-secret" }
    options.script = script(config)
    return scene.start(options)
  end

  after_each(function()
    scene.stop()
    if hook then hook:close() end
  end)

  it("tells of all shards of all workers in one message, and never of its URL", function()
    local s = start [[events = { "disconnected" }, delay = 2500]]
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("resumes_ok", SHARDS)
    local body = hook:wait_for(1)[1]:json()
    assert.equal(1, #body.alerts)
    assert.equal("disconnected", body.alerts[1].event)
    assert.equal(SHARDS, body.alerts[1].count)
    table.sort(body.alerts[1].shards)
    assert.same({ 0, 1, 2, 3, 4, 5 }, body.alerts[1].shards)
    assert.matches("^Tidegate: shards 0%-5: disconnected with code 4000.*%(6 times%)$", body.text)
    assert.is_nil(s.gateway.stderr:find("hook-secret", 1, true))
  end)

  it("is quiet after a message, and tells then what has come meanwhile", function()
    local QUIET = 1500
    local s = start(("events = { 'disconnected' }, delay = 0, quiet = %d"):format(QUIET))
    local times = {}
    hook:answer(function()
      times[#times + 1] = loop.now()
      return 204
    end)
    for shard = 0, 3 do
      s.fake:fault { ["do"] = "close", code = 4000, shard = shard }
      hook:wait_for(1)
    end
    local told = 0
    loop.wait_for("all four to be told of", function()
      told = 0
      for _, request in ipairs(hook.requests) do told = told + request:json().alerts[1].count end
      return told >= 4
    end)
    assert.equal(4, told)
    for i = 2, #times do assert.is_true(times[i] - times[i - 1] >= QUIET - 50) end
  end)

  it("posts as a bot's message to Discord, and calls nobody", function()
    local s = start [[events = { "handler_down", "handler_up" }, delay = 0, quiet = 0, format = "discord"]]
    s.bot:answer(function() return 500 end)
    s.fake:emit { count = 2 }
    local down = hook:wait_for(1, "takes no events")[1]:json()
    assert.same({ parse = {} }, down.allowed_mentions)
    assert.is_nil(down.alerts)
    s.bot:answer(nil)
    hook:wait_for(1, "takes events again")
  end)

  it("waits as long as it is told, and delivery goes on meanwhile", function()
    local s = start [[events = { "disconnected" }, delay = 0]]
    local limited = 0
    hook:answer(function()
      limited = limited + 1
      if limited == 1 then
        return 429, { ["Retry-After"] = "1", ["Content-Type"] = "application/json" },
          '{"message":"You are being rate limited.","retry_after":0.7}'
      end
      return 204
    end)
    s.fake:fault { ["do"] = "close", code = 4000, shard = 2 }
    s.gateway:wait_for_log "alerts: alerts were not sent, and are again in 1000 ms: it answered 429"
    s.fake:emit { count = 5 }
    s:wait_delivered()
    local body = hook:wait_for(1)[1]:json()
    assert.same({ 2 }, body.alerts[1].shards)
    assert.equal(2, #hook.requests)
  end)

  it("tells of a worker that has died", function()
    local s = start [[events = { "worker_exit" }, delay = 0]]
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    local body = hook:wait_for(1)[1]:json()
    assert.equal("worker_exit", body.alerts[1].event)
    assert.matches("worker %d has ended", body.text)
    s:wait_counter("resumes_ok", 3)
  end)

  it("takes what waits along through a reload", function()
    local s = start [[events = { "disconnected" }, delay = 20000]]
    s.fake:fault { ["do"] = "close", code = 4000, shard = 1 }
    s:wait_counter("resumes_ok", 1)
    paths.write(s.gateway.script, script [[events = { "disconnected" }, delay = 0, title = "Second"]])
    s.gateway:reload()
    assert.matches("^Second: shard 1: ", hook:wait_for(1)[1]:json().text)
  end)
end)
