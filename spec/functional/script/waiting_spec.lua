-- Waiting calls of scripts: http, rest, sleep, spawn, after, every. Where they work, where not, and what
-- becomes of those whose owner is gone.

local checker = require "spec.support.checker"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local servers = {}

local function serve(handler)
  local server = http.serve(handler)
  servers[#servers + 1] = server
  return server
end

local function stop()
  for _, server in ipairs(servers) do
    server:close()
  end
  servers = {}
  scene.stop()
end

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  options.reload = false -- it ends what waits
  return scene.start(options)
end

-- A script that runs `body` in a worker, once its shard is up.
local function run(body, options)
  return start(('gateway.on("ready", function(shard)\n%s\nend)\n'):format(body), options)
end

describe("gateway.http", function()
  after_each(stop)

  it("asks and answers", function()
    local asked
    local server = serve(function(request)
      asked = request
      return 201, { ["X-Tide"] = "high" }, '{"ok":true,"list":[1,2]}'
    end)
    local s = run(([[
local response = assert(gateway.http.post("%s/path?a=1", {
  json = { text = "ahoy" }, headers = { ["X-Name"] = "value" }, query = { b = "two words" },
}))
local data = response.data
gateway.log.info("%%d %%s %%s %%d", response.status, response.headers["x-tide"], data.ok, #data.list)
]]):format(server.url))
    s.gateway:wait_for_log "201 high true 2"
    assert.same({ "POST", "/path?a=1&b=two%20words", '{"text":"ahoy"}', "value", "application/json" },
      { asked.method, asked.path, asked.body, asked.headers["x-name"], asked.headers["content-type"] })
    assert.matches("^tidegate/", asked.headers["user-agent"])
    assert.is_nil(asked.headers.authorization)
  end)

  it("returns nil, err when there is no answer, or not the one that was asked for", function()
    local silent = serve(function() end)
    local long = serve(function() return 200, nil, ("x"):rep(5000) end)
    local s = run(([[
local function try(name, ...)
  local response, err = gateway.http.get(...)
  assert(response == nil)
  gateway.log.info("%%s: %%s, %%s", name, err.code, tostring(err))
end
try("silent", "%s/", { timeout = 200 })
try("long", "%s/", { max_body = 4999 })
try("nobody", "http://127.0.0.1:1/")
try("nowhere", "gopher://127.0.0.1/")
gateway.log.info("enough: %%d", #gateway.http.get("%s/", { max_body = 5000 }).body)
]]):format(silent.url, long.url, long.url))
    s.gateway:wait_for_log "silent: timeout, http://127.0.0.1:%d+: "
    s.gateway:wait_for_log "long: too_large, "
    s.gateway:wait_for_log "nobody: refused, "
    s.gateway:wait_for_log "nowhere: bad_url, "
    s.gateway:wait_for_log "enough: 5000"
  end)

  it("has at most 16 under way to a host; the time of others begins with their turn, or never", function()
    local now, most, held = 0, 0, {}
    local server = serve(function(request)
      now = now + 1
      most = math.max(most, now)
      held[#held + 1] = request
    end)
    local s = run(([[
for i = 1, 40 do
  gateway.spawn(function()
    local response, err = gateway.http.get("%s/" .. i, {
      timeout = i > 16 and 2000 or 20000, queue_timeout = i > 30 and 2500 or 20000,
    })
    gateway.log.info("request %%d: %%s", i, response and response.status or err.code)
  end)
end
]]):format(server.url))
    loop.wait_for("the first requests", function() return #held == 16 end)
    s.gateway:wait_for_log "request 40: queue_timeout"
    loop.wait_for("all the others", function()
      for _, request in ipairs(held) do
        now = now - 1
        request:respond(204)
      end
      held = {}
      return s.gateway:count_log "request %d+: 204" == 30
    end)
    assert.equal(16, most)
    assert.equal(10, s.gateway:count_log "request %d+: queue_timeout")
  end)

  it("has at most 1000 wait for a host: the next one is told so at once", function()
    local held = {}
    local server = serve(function(request) held[#held + 1] = request end)
    local s = run(([[
local ended, full = 0, 0
for i = 1, 1030 do
  gateway.spawn(function()
    local _, err = gateway.http.get("%s/" .. i)
    ended = ended + 1
    if err and err.code == "queue_full" then full = full + 1 end
    if ended == 14 then gateway.log.info("full: %%d", full) end
  end)
end
gateway.log.info("elsewhere: %%s", select(2, gateway.http.get "http://127.0.0.1:1/").code)
]]):format(server.url))
    s.gateway:wait_for_log "full: 14"
    s.gateway:wait_for_log "elsewhere: refused"
    loop.wait_for("the first requests", function() return #held == 16 end)
    for _, request in ipairs(held) do
      request:respond(204)
    end
  end)

  it("does not take connections away from the delivery of events", function()
    local s
    local bot_support = require "spec.support.bot"
    local bot = bot_support.start { answer = function() return nil end }
    s = run(([[
for i = 1, 40 do
  gateway.spawn(function() gateway.http.get("http://127.0.0.1:%d/hang", { timeout = 20000 }) end)
end
]]):format(serve(function() end).port), { bot = { bot } })
    s.fake:emit { count = 20 }
    s:wait_delivered()
  end)

  it("refuses misuse at the caller's line", function()
    local s = run [[
local function try(...)
  local ok, err = pcall(gateway.http.get, ...)
  gateway.log.info("%s, %s", ok, err)
end
try(7)
try("http://x/", { tiemout = 1 })
try("http://x/", { timeout = 0 })
try("http://x/", { timeout = "1" })
try("http://x/", { body = "a", json = {} })
try("http://x/", { headers = { A = "b\r\nc: d" } })
]]
    s.gateway:wait_for_log "false, [^\n]*expected a URL, got number"
    s.gateway:wait_for_log "false, [^\n]*unknown option 'tiemout'; did you mean 'timeout'%?"
    s.gateway:wait_for_log "false, [^\n]*timeout has to be a number from 1 on"
    s.gateway:wait_for_log "false, [^\n]*give body or json, not both"
    s.gateway:wait_for_log "false, [^\n]*a line break in header 'A'"
  end)
end)

describe("gateway.rest", function()
  after_each(stop)

  it("has the base URL and the authorization, and decodes", function()
    local s = run [[
local info = assert(gateway.rest.get "/gateway/bot")
gateway.log.info("shards: %d", info.shards)
local data, err = gateway.rest.get "/no/such/route"
gateway.log.info("%s, %s, %d", data, err.code, err.status)
]]
    s.gateway:wait_for_log "shards: 1"
    s.gateway:wait_for_log "nil, status, 404"
  end)

  it("never follows a host of its own", function()
    local s = run [[
local ok, err = pcall(gateway.rest.get, "http://elsewhere/")
gateway.log.info("%s, %s", ok, err)
]]
    s.gateway:wait_for_log 'false, [^\n]*expected a path that starts with "/"'
  end)
end)

describe("a path of gateway.rest", function()
  after_each(stop)

  -- What comes of each: the path that REST was asked for, or the failure.
  local ROWS = {
    { '"/users/@me?limit=1"', "/users/@me?limit=1" },
    { '{ "users", "@me" }', "/users/%40me" },
    { '{ "users", 1 }', "/users/1" },
    { '{ "users", "a/b?c#d%2e é" }', "/users/a%2Fb%3Fc%23d%252e%20%C3%A9" },
    { '{ "users", "...", "-._~" }', "/users/.../-._~" },
    { '{ "users", ".." }', "bad_url" },
    { '{ "users", ".", "x" }', "bad_url" },
    { '{ "users", "", "x" }', "bad_url" },
    { '{ "users", "" }', "bad_url" },
    { "{}", "bad_url" },
    { '"/users/../x"', "bad_url" },
    { '"/users/%2E."', "bad_url" },
    { '"/users/.?x"', "bad_url" },
    { '"/teams?x=/../y"', "/teams?x=/../y" },
    { '{ "users", nil, "x" }', "part 2 of the path is a nil" },
    { '{ "users", {} }', "part 2 of the path is a table" },
    { '{ path = "/users" }', "part 1 of the path is a nil" },
  }

  it("is what it is made of, and nothing else", function()
    local lines = {
      "local function try(i, path)",
      "  local ok, data, err = pcall(gateway.rest.get, path)",
      "  gateway.log.info('%d: %s', i, not ok and data or err and err.code)",
      "end",
    }
    for i, row in ipairs(ROWS) do
      lines[#lines + 1] = ("try(%d, %s)"):format(i, row[1])
    end
    local s = run(table.concat(lines, "\n") .. "\n")
    s.gateway:wait_for_log(#ROWS .. ": ")
    local asked = {}
    for _, request in ipairs(s.fake:state("rest").rest) do
      asked[request.path:gsub("^/api/v10", "")] = true
    end
    for i, row in ipairs(ROWS) do
      if row[2]:find "^/" then
        assert.is_true(asked[row[2]], row[2])
      else
        assert.matches((" %d: [^\n]*%s"):format(i, row[2]), s.gateway.stderr)
      end
    end
  end)
end)

describe("waiting", function()
  after_each(stop)

  it("sleep, spawn, after, every", function()
    local s = run [[
local started = os.time()
assert(gateway.sleep(50) == true)
gateway.spawn(function(a, b) gateway.sleep(1) gateway.log.info("spawned with %s, %s", a, b) end, "one", nil)
gateway.after(30, function() gateway.sleep(1) gateway.log.info("after") end)
local dropped = gateway.after(10, function() gateway.log.info("never") end)
dropped:cancel()
local beats = 0
local timer
timer = gateway.every(5, function()
  beats = beats + 1
  gateway.sleep(5)
  if beats == 3 then
    timer:cancel()
    gateway.after(60, function() gateway.log.info("%d beats", beats) end)
  end
end)
]]
    s.gateway:wait_for_log "spawned with one, nil"
    s.gateway:wait_for_log "3 beats"
    assert.equal(0, s.gateway:count_log "never")
  end)

  it("works across pcall, in the script's own coroutines and in metamethods", function()
    local s = run [[
local ok, text = pcall(function()
  gateway.sleep(5)
  error("after a nap", 0)
end)
gateway.log.info("pcall: %s, %s", ok, text)
gateway.log.info("xpcall: %s", select(2, xpcall(function() gateway.sleep(5) error("x", 0) end, function(e)
  return e .. " handled"
end)))
local numbers = coroutine.wrap(function()
  for i = 1, 3 do
    gateway.sleep(2)
    coroutine.yield(i)
  end
end)
gateway.log.info("wrap: %d %d %d", numbers(), numbers(), numbers())
local inner = coroutine.create(function()
  local co = coroutine.create(function() gateway.sleep(2) coroutine.yield("deep") end)
  coroutine.yield(select(2, coroutine.resume(co)))
end)
gateway.log.info("create: %s", select(2, coroutine.resume(inner)))
local lazy = setmetatable({}, { __index = function(_, key) gateway.sleep(2) return key .. "!" end })
gateway.log.info("metamethod: %s", lazy.ahoy)
]]
    s.gateway:wait_for_log "pcall: false, after a nap"
    s.gateway:wait_for_log "xpcall: x handled"
    s.gateway:wait_for_log "wrap: 1 2 3"
    s.gateway:wait_for_log "create: deep"
    s.gateway:wait_for_log "metamethod: ahoy!"
  end)

  it("says where it is impossible, and names the method", function()
    local s = start([[
local function try(what, fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok)
  gateway.log.info("%s: %s", what, err)
end
try("loading", gateway.sleep, 1)
try("loading http", gateway.http.get, "http://127.0.0.1/")
local heartbeat = gateway.shard.heartbeat
function gateway.shard:heartbeat(interval)
  try("inline", gateway.sleep, 1)
  try("inline command", function() return gateway.manager:leave_voice_channel("1") end)
  return heartbeat(self, interval)
end
gateway.filter("TYPING_START", function() try("filter", gateway.rest.get, "/") end)
gateway.on("TYPING_START", function()
  try("sort", table.sort, { 3, 1, 2 }, function(a, b) gateway.sleep(1) return a < b end)
  try("gsub", string.gsub, "a", "a", function() gateway.sleep(1) end)
end)
]], { fake = { heartbeat_interval = 300 * paths.slow } })
    s.gateway:wait_for_log("loading: [^\n]*gateway%.sleep waits, which is impossible while the script is "
      .. "being loaded; do it in gateway%.on%(\"load\"")
    s.gateway:wait_for_log "loading http: [^\n]*gateway%.http%.get waits"
    s.gateway:wait_for_log "inline: [^\n]*gateway%.sleep waits, [^\n]* inside gateway%.shard:heartbeat"
    s.gateway:wait_for_log "inline command: [^\n]*gateway%.manager:leave_voice_channel waits, "
    s:type()
    s.gateway:wait_for_log "filter: [^\n]*gateway%.rest%.get waits, [^\n]* inside [^\n]*filter"
    s.gateway:wait_for_log "sort: [^\n]*gateway%.sleep waits, which is impossible in a function that C calls"
    s.gateway:wait_for_log "gsub: [^\n]*gateway%.sleep waits"
  end)

  it("keeps the order of a shard's events, whatever handlers wait for", function()
    local s = start([[
local handled = 0
gateway.on("MESSAGE_CREATE", function(event)
  gateway.sleep(math.random(0, 30))
  assert(event.data.content and event.id)
  handled = handled + 1
  if handled == 600 then gateway.log.info("all are handled") end
end)
]], { shards = 2, fake = { max_concurrency = 2 }, bot = {} })
    s.fake:emit { count = 300 }
    local sent = s:wait_delivered()
    s.gateway:wait_for_log "all are handled"
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("keeps the order of handlers that ask for it, by shard and by guild", function()
    local s = start([[
local last = {}
local handled = 0
local function in_order(of)
  return function(event)
    local guild, n = event.data.nonce:match "(%d+):(%d+)"
    n = tonumber(n)
    gateway.sleep(math.random(0, 3))
    local key = of .. guild
    if n ~= (last[key] or 0) + 1 then gateway.log.error("%s: %d after %d", of, n, last[key] or 0) end
    last[key] = n
    handled = handled + 1
    if handled == 400 then gateway.log.info("all are handled") end
  end
end
gateway.on("MESSAGE_CREATE", in_order "shard", { ordered = "shard" })
gateway.on("MESSAGE_CREATE", in_order "guild", { ordered = "guild" })
]])
    s.fake:emit { count = 200 }
    s.gateway:wait_for_log "all are handled"
    assert.equal(0, s.gateway:count_log "error")
  end)

  it("runs a handler no more often at once than it asks for; the rest wait in order", function()
    local s = start([[
local now, most, last = 0, 0, 0
gateway.on("MESSAGE_CREATE", function(event)
  now, most = now + 1, math.max(most, now + 1)
  local n = tonumber(event.data.nonce:match "(%d+)$")
  if n ~= last + 1 then gateway.log.error("%d after %d", n, last) end
  last = n
  gateway.sleep(math.random(0, 2))
  now = now - 1
  if n == 200 then gateway.log.info("all are started, at most %d at once", most) end
end, { concurrency = 3 })
]], { fake = { guilds = 1 }, bot = {}, reload = false })
    s.fake:emit { count = 200 }
    s.gateway:wait_for_log "all are started, at most 3 at once"
    s:wait_delivered()
    assert.equal(0, s.gateway:count_log "error")
  end)

  it("bounds what waits for a handler; delivery goes on", function()
    local s = start([[
gateway.configure { script = { memory = 1024 * 1024 } }
gateway.on("MESSAGE_CREATE", function() gateway.sleep(100000) end, { ordered = "shard" })
]], { bot = {}, reload = false })
    s.fake:emit { count = 700, size = 8000 }
    s.gateway:wait_for_log("the handler of MESSAGE_CREATE %([^\n]*script%.lua:3%) does not get all events: "
      .. "those that wait for handlers take 4%.0 MiB")
    s:wait_delivered()
    local metrics = s.gateway:control("GET", "/metrics").body
    local skipped = metrics:match "tidegate_lua_events_skipped_total{[^\n]*} (%d+)"
    assert.is_true(tonumber(skipped) > 50)
  end)

  it("ends with nil, cancelled when the script is reloaded; what comes later is dropped", function()
    local held
    local server = serve(function(request) held = request end)
    local s = run(([[
if gateway.state.ran then return end
gateway.state.ran = true
gateway.spawn(function()
  local ok, err = gateway.sleep(100000)
  gateway.log.info("sleep: %%s, %%s", ok, err.code)
  local again, too = gateway.sleep(1) -- no way to stay
  gateway.log.info("never %%s %%s", again, too)
end)
gateway.spawn(function()
  local ok, err = gateway.manager:send_payload(0, { op = 31, d = { guild_ids = { "1" } } })
  ok, err = gateway.http.get("%s/")
  gateway.log.info("http: %%s, %%s", ok, err.code)
end)
gateway.spawn(function()
  local ok, err = gateway.manager:request_members("%s", { query = "nobody", timeout = 60000 })
  gateway.log.info("manager: %%s, %%s", ok, err and err.code)
end)
]]):format(server.url, "1"))
    loop.wait_for("the request", function() return held end)
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "sleep: nil, cancelled"
    s.gateway:wait_for_log "http: nil, cancelled"
    s.gateway:wait_for_log "manager: nil, cancelled"
    held:respond(200, nil, "too late")
    s:type()
    assert.is_true((s.gateway:reload()))
    assert.equal(0, s.gateway:count_log "never")
    assert.equal(1, #s.gateway:worker_pids())
    assert.equal(1, s:counters().identifies)
  end)

  it("answers nobody when the worker that asked is gone", function()
    local s = start [[
local send = gateway.manager.send_payload
function gateway.manager:send_payload(shard_id, payload)
  gateway.log.info("asked")
  gateway.sleep(700)
  gateway.log.info("answered: %s", send(self, shard_id, payload))
  return true
end
gateway.on("ready", function()
  gateway.manager:send_payload(0, { op = 31, d = { guild_ids = { "1" } } })
  gateway.log.info("never")
end)
]]
    s.gateway:wait_for_log "asked"
    require("luv").kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "answered: "
    s:wait_counter("resumes_ok", 1)
    assert.equal(0, s.gateway:count_log "never")
    assert.is_nil(s.gateway.process.ended)
  end)

  it("does not hold up the end of the gateway", function()
    local s = start [[
gateway.on("load", function() gateway.sleep(100000) end)
gateway.every(50, function() gateway.sleep(100000) end)
gateway.on("ready", function() gateway.sleep(1e6) end)
gateway.on("unload", function()
  gateway.log.info("unloaded in the %s", gateway.role)
  gateway.sleep(1e6)
end)
]]
    assert.equal(0, s.gateway:stop())
    assert.matches("unloaded in the worker", s.gateway.stderr, 1, true)
    assert.matches("unloaded in the manager", s.gateway.stderr, 1, true)
  end)
end)
