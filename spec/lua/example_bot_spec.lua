-- examples/bots/bot.lua, the event handler that the quick start shows.

local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

local function start(...)
  local announced = paths.tmp() .. "/url"
  local bot = process.start(
    { "luajit", "examples/bots/bot.lua", "--port", "0", "--announce", announced, ... },
    { env = { EVENT_HANDLER_SECRET_KEY = "secret-of-the-bot" } })
  bot.url = loop.wait_for("the bot to listen", function() return paths.read(announced) end):gsub("%s", "")
  return bot
end

local function event(shard, s, t, d)
  return ('{"shardId":%d,"totalShards":4,"epoch":2,"message":{"t":"%s","s":%d,"op":0,"d":%s}}'):format(
    shard, t, s, d or "{}")
end

local function post(bot, body)
  local headers = { Authorization = "secret-of-the-bot" }
  return http.request("POST", bot.url, { headers = headers, body = body }).status
end

it("prints events with shard and guild, and figures each second", function()
  local bot = start()
  assert.equal(204, post(bot, event(3, 1, "MESSAGE_CREATE", '{"guild_id":"41771983423143937"}')))
  bot:wait_for_output("shard 3 +MESSAGE_CREATE +guild 41771983423143937", "stdout")
  bot:wait_for_output("1 events in total, 0 repeats dropped", "stdout")
  bot:kill "TERM"
  bot:wait()
  assert.equal(0, bot.exit_code)
  assert.matches("1 events from 0 shards, 0 repeats dropped\n$", bot.stdout)
end)

it("drops what it has had already", function()
  local bot = start()
  for _, s in ipairs { 1, 2, 1, 2, 3 } do
    assert.equal(204, post(bot, event(0, s, "MESSAGE_CREATE")))
  end
  bot:wait_for_output("3 events in total, 2 repeats dropped", "stdout")
end)

it("takes batches, large bodies and several requests at once", function()
  local bot = start()
  local ready = event(0, 1, "READY", '{"shard":[0,1]}')
  assert.equal(204, post(bot, "[" .. ready .. "," .. event(0, 2, "RESUMED") .. "]"))
  local large = event(0, 3, "GUILD_CREATE", '{"id":"7","name":"' .. ("x"):rep(3000000) .. '"}')
  assert.equal(204, post(bot, large))
  bot:wait_for_output("shard 0 +GUILD_CREATE +guild 7", "stdout")

  local tcp, answers = uv.new_tcp(), ""
  local text = ""
  for s = 4, 6 do
    local body = event(0, s, "TYPING_START")
    text = text .. "POST / HTTP/1.1\r\nAuthorization: secret-of-the-bot\r\n"
      .. ("Content-Length: %d\r\n\r\n%s"):format(#body, body)
  end
  tcp:connect("127.0.0.1", tonumber(bot.url:match "%d+$"), loop.callback(function()
    tcp:read_start(loop.callback(function(_, chunk) answers = answers .. (chunk or "") end))
    tcp:write(text:sub(1, 100))
    tcp:write(text:sub(101))
  end))
  loop.wait_for("three answers", function() return select(2, answers:gsub("204 No Content", "")) == 3 end)
  tcp:close()
  bot:wait_for_output("1 shards, .* 6 events in total", "stdout")
end)

it("refuses a wrong secret and nonsense", function()
  local bot = start()
  assert.equal(401, http.request("POST", bot.url, { body = event(0, 1, "READY") }).status)
  assert.equal(400, post(bot, "nonsense"))
  bot:wait_for_output("0 events in total", "stdout")
end)

it("keeps quiet until all shards are up, when asked to", function()
  local bot = start "--wait-for-shards"
  assert.equal(204, post(bot, event(0, 1, "READY", '{"shard":[0,2]}')))
  assert.equal(204, post(bot, event(0, 2, "MESSAGE_CREATE")))
  assert.equal("", bot.stdout)
  assert.equal(204, post(bot, event(1, 1, "READY", '{"shard":[1,2]}')))
  bot:wait_for_output("2 shards", "stdout")
end)

it("explains its options", function()
  local bot = process.run { "luajit", "examples/bots/bot.lua", "--nonsense" }
  assert.equal(64, bot.exit_code)
  assert.matches("usage: bot.lua", bot.stderr)
end)
