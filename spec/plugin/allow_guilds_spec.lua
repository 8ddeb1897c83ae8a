-- allow-guilds in front of a bot, with a list that changes.

local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

describe("allow-guilds", function()
  after_each(function()
    scene.stop()
    process.cleanup()
  end)

  local function start(list)
    local file = paths.write(paths.tmp() .. "/guilds.txt", list)
    local s = scene.start { script = plugins.script(([[
      gateway.plugin("allow-guilds", { file = %q, interval = 100 })
    ]]):format(file)) }
    s.list = file
    return s
  end

  local turn = 0

  -- The guilds of these of which a TYPING_START has come to the bot.
  local function heard_of(s, ...)
    turn = turn + 1
    local guilds = { ... }
    for _, guild in ipairs(guilds) do
      s.fake:emit { event = "TYPING_START", shard = 0,
                    d = { user_id = tostring(turn), guild_id = guild, channel_id = "1", timestamp = 1 } }
    end
    local last = tostring(turn) .. "999"
    s:type(last) -- of no guild: it passes, behind them
    local mine, heard = tostring(turn), {}
    s.bot:wait_for_events(1, function(event)
      return event.t == "TYPING_START" and event:data().user_id == last
    end)
    for _, event in ipairs(s.bot:select "TYPING_START") do
      if event:data().user_id == mine then heard[#heard + 1] = event:data().guild_id end
    end
    return table.concat(heard, " ")
  end

  it("lets the guilds of its list through, and of the list as it changes", function()
    local s = start "100\n200\n"
    assert.equal("100 200", heard_of(s, "100", "300", "200"))
    paths.write(s.list, "300\n")
    s.gateway:wait_for_log "allow%-guilds: 1 guilds are in "
    assert.equal("300", heard_of(s, "100", "300", "200"))
  end)

  it("keeps the last good list when the file is half written, or gone, also through a reload", function()
    local s = start "100\n"
    paths.write(s.list, "300\n4177198")
    s.gateway:wait_for_log "its last line is not complete; the last good list is kept"
    assert.equal("100", heard_of(s, "100", "300"))
    os.remove(s.list)
    s.gateway:wait_for_log "No such file or directory; the last good list is kept"
    assert.is_true((s.gateway:reload()))
    assert.equal("100", heard_of(s, "100", "300"))
    paths.write(s.list, "300\n")
    s.gateway:wait_for_log "allow%-guilds: 1 guilds are in "
    assert.equal("300", heard_of(s, "100", "300"))
  end)

  it("goes on in a worker that takes the place of another while the file is gone", function()
    local s = start "100\n"
    os.remove(s.list)
    s.gateway:wait_for_log "No such file or directory; the last good list is kept"
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "events of all guilds pass until there is a list"
    s:wait_counter("resumes_ok", 1)
    assert.equal("100 300", heard_of(s, "100", "300"))
    paths.write(s.list, "100\n")
    s.gateway:wait_for_log "allow%-guilds: 1 guilds are in "
    assert.equal("100", heard_of(s, "100", "300"))
  end)

  it("is named with the line of its filter, as it is built in", function()
    local code, output = plugins.check({}, [[gateway.plugin("allow-guilds", { guilds = { "100" } })]])
    assert.equal(0, code, output)
    assert.matches("plugin allow%-guilds, handler%.lua:%d+ ", output)
  end)

  it("is no reason to start without a list", function()
    local dir = paths.tmp()
    local script = paths.write(dir .. "/script.lua", plugins.script(
      ('gateway.plugin("allow-guilds", { file = "%s/none.txt" })'):format(dir)))
    local run = process.run({ paths.bin "tidegate", "run", script }, { env = {
      DISCORD_TOKEN = "fake-token", INTENTS = "513", TIDEGATE_STATE_DIR = dir .. "/state",
      EVENT_HANDLER_URL = "http://127.0.0.1:1/", EVENT_HANDLER_SECRET_KEY = "secret-of-the-bot",
    } })
    assert.equal(78, run.exit_code, run.stderr)
    assert.matches("plugin allow-guilds does not load: " .. dir .. "/none.txt: No such file or directory",
      run.stderr, 1, true)
  end)
end)
