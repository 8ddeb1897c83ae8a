-- `tidegate ctl config` and GET /config: what runs, and where each value comes from.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

describe("tidegate ctl config", function()
  after_each(scene.stop)

  local SECRET = "open-sesame-and-stay-open"

  local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure {
  queue = { max_age = 7200000 },
  event_handler = { authorization = "the-bot-knows-it", headers = { ["X-Key"] = "hidden-in-a-header" } },
  large_threshold = 100,
  sinks = {
    copy = { url = "http://user:hidden-in-a-url@127.0.0.1:9/x?key=hidden-in-a-query", batch = true },
  },
}
]]

  local function ctl(s, ...)
    local where = s.gateway:control_url():gsub("^http://", "")
    return process.run({ paths.bin "tidegate", "ctl", "config", ... },
      { env = { TIDEGATE_CONTROL = where, TIDEGATE_CONTROL_SECRET = SECRET } })
  end

  -- The rows by their keys, and the whole answer.
  local function ask(s, ...)
    local p = ctl(s, ...)
    assert.equal(0, p.exit_code, p.stderr)
    local answer, rows = cjson.decode(p.stdout), {}
    for _, row in ipairs(answer.values) do
      rows[row.key], row.key = row, nil
    end
    return rows, answer, p.stdout
  end

  local function start(options)
    options = options or {}
    options.bot, options.reload = false, false
    options.script = options.script or SCRIPT
    options.env = options.env or {}
    options.env.TIDEGATE_CONTROL_SECRET_FILE = paths.write(paths.tmp() .. "/secret", SECRET .. "\n")
    return scene.start(options)
  end

  it("tells each value with its source, and no secret", function()
    local s = start { env = { SPAWN_SHARD_DELAY = "5000", LARGE_THRESHOLD = "", LOG_LEVEL = "info" } }
    local rows, answer, text = ask(s)
    assert.same({ value = "***", from = "environment", variable = "DISCORD_TOKEN" }, rows.token)
    assert.same({ value = "***", from = "environment", variable = "TIDEGATE_CONTROL_SECRET_FILE",
      file = s.options.env.TIDEGATE_CONTROL_SECRET_FILE }, rows["control.authorization"])
    assert.same({ value = 7200000, from = "script" }, rows["queue.max_age"])
    assert.same({ value = "none", from = "default" }, rows["queue.sync"])
    assert.same({ value = 5000, from = "environment", variable = "SPAWN_SHARD_DELAY" },
      rows.spawn_shard_delay)
    assert.same({ value = 100, from = "script" }, rows.large_threshold)
    assert.same({ value = "info", from = "environment", variable = "LOG_LEVEL" }, rows["log.level"])
    assert.same({ value = cjson.null, from = "default" }, rows.capabilities)
    assert.same({ value = s.gateway.state_dir, from = "environment", variable = "TIDEGATE_STATE_DIR" },
      rows.state_dir)
    assert.same({ value = "http://127.0.0.1:9/x", from = "script" }, rows["sinks.copy.url"])
    assert.same({ value = true, from = "script" }, rows["sinks.copy.batch"])
    assert.same({ value = 10000, from = "default" }, rows["sinks.copy.timeout"])
    assert.is_nil(rows["sinks.copy.replicas"]) -- of Redis alone
    assert.same({ s.gateway.script, 1, {} }, { answer.script, answer.generation, answer.needsRestart })
    for _, secret in ipairs { SECRET, s.fake.token, "the-bot-knows-it", "hidden-in-a" } do
      assert.is_nil(text:find(secret, 1, true), secret)
    end
    assert.equal("***", rows["event_handler.authorization"].value)
  end)

  it("tells of what a reload has brought, and of what waits for a restart", function()
    local s = start { env = { TOTAL_WORKERS = "1" } }
    paths.write(s.gateway.script, [[
require("tidegate").configure { queue = { sync = "batch" }, total_workers = 2, state_dir = "elsewhere" }
]])
    s.gateway:reload()
    local rows, answer = ask(s)
    assert.same({ value = "batch", from = "script" }, rows["queue.sync"])
    assert.same({ value = 86400000, from = "default" }, rows["queue.max_age"])
    assert.same({ value = 1, from = "environment", variable = "TOTAL_WORKERS" }, rows.total_workers)
    assert.same({ value = s.gateway.state_dir, from = "environment", variable = "TIDEGATE_STATE_DIR" },
      rows.state_dir)
    assert.same({ "total_workers", "state_dir" }, answer.needsRestart)
    assert.equal(2, answer.generation)
    -- What is wanted now is what runs.
    paths.write(s.gateway.script, 'require("tidegate").configure { total_workers = 1 }')
    s.gateway:reload()
    rows, answer = ask(s)
    assert.same({}, answer.needsRestart)
    assert.same({ value = 1, from = "script" }, rows.total_workers)
  end)

  it("tells where plugins have their configuration from", function()
    local env = {
      TIDEGATE_PLUGINS = "drop-bots,sample",
      TIDEGATE_PLUGIN_SAMPLE = '{"rates":[{"events":["TYPING_START"],"fraction":0.375}]}',
    }
    local rows, _, text = ask(start { script = "", env = env })
    assert.same({ value = "***", from = "environment", variable = "TIDEGATE_PLUGINS" },
      rows["plugins.drop-bots"])
    assert.same({ value = "***", from = "environment", variable = "TIDEGATE_PLUGIN_SAMPLE" },
      rows["plugins.sample"])
    assert.is_nil(text:find("0.375", 1, true))
  end)

  it("shows a part of it, for people", function()
    local s = start {}
    assert.equal(([[
script %s, generation 1

Key                 From     Value
queue.memory_bytes  default  64 MiB
queue.disk_bytes    default  1 GiB
queue.max_age       script   2 h
queue.durability    default  log
queue.sync          default  none
queue.drop_first    default  TYPING_START, PRESENCE_UPDATE
]]):format(s.gateway.script), ctl(s, "queue", "--table").stdout)
    assert.matches("\ncontrol.authorization +TIDEGATE_CONTROL_SECRET_FILE: /[^\n]+/secret +%*%*%*\n",
      ctl(s, "control.authorization", "--table").stdout)
    local rows = ask(s, "sinks.copy.batch")
    assert.same({ ["sinks.copy.batch"] = { value = true, from = "script" } }, rows)
    for key, said in pairs {
      ["queue.snyc"] = 'there is no key "queue.snyc"; did you mean "queue.sync"?',
      ["queues"] = 'there is no key "queues", and none that begins so',
    } do
      local p = ctl(s, key)
      assert.same({ 1, "", "tidegate ctl: " .. said .. "\n" }, { p.exit_code, p.stdout, p.stderr })
    end
    assert.equal(64, ctl(s, "x&y").exit_code)
  end)
end)
