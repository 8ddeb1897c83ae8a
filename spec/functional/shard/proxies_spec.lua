-- The proxies that the environment names: who goes over them, and what is said when they do not let pass.

local bot_support = require "spec.support.bot"
local cjson = require "cjson"
local connect_proxy = require "spec.support.connect_proxy"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local hidden_discord = require "spec.support.hidden_discord"
local http = require "spec.support.http"
local names = require "spec.support.names"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local world, env = hidden_discord.start, hidden_discord.env

describe("over the proxies of the environment", function()
  after_each(function()
    gateway.teardown()
    connect_proxy.cleanup()
  end)

  it("go REST and the gateway, by CONNECT and with its login, which nobody else sees", function()
    local bot = bot_support.start()
    local fake, proxy, place = world { tls = true, login = "user:pa:ss%word" }
    local url = proxy.url:gsub("http://", "http://user:pa%%3Ass%%25word@")
    local g = gateway.start { fake = fake, bot = bot, env = env(place, { HTTPS_PROXY = url }) }
    g:wait_ready(1)
    assert.same({ [place.rest] = 1, [place.gateway] = 1 }, proxy:targets "CONNECT")
    for _, request in ipairs(proxy.requests) do
      assert.is_nil(request.headers.authorization) -- the bot's token is not for the proxy
    end
    assert.matches("the environment names proxies: REST https://rest.discord.test:%d+/api/v10 over "
      .. "http://127.0.0.1:%d+ %(HTTPS_PROXY%), the event handler http://127.0.0.1:%d+ directly", g.stderr)
    assert.matches("at wss://gateway.discord.test:%d+ over the proxy http://127.0.0.1:%d+", g.stderr)

    fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    fake:wait_for("a RESUME", function(state)
      return state.counters.resumes_ok == 1
    end, { only = "counters" })
    assert.equal(2, proxy:targets "CONNECT"[place.gateway])
    fake:emit { count = 10 }
    bot:wait_for_events(10, "MESSAGE_CREATE")
    for _, word in ipairs { "pa:ss%word", "pa%3Ass%25word", "dXNlcjpwYTpzcyV3b3Jk" } do
      assert.is_nil(g.stderr:find(word, 1, true), word)
    end
  end)

  it("go plain connections too: WebSockets by CONNECT, the rest with whole URLs", function()
    local bot = bot_support.start()
    local fake, proxy, place = world { bot = bot }
    local g = gateway.start {
      fake = fake, bot = bot,
      env = env(place, { http_proxy = proxy.url, EVENT_HANDLER_URL = "http://bot.test:8081/events" }),
    }
    g:wait_ready(1)
    bot:wait_for_events(1, "READY")
    assert.same({ [place.gateway] = 1 }, proxy:targets "CONNECT")
    assert.same({ [place.REST_URL .. "/gateway/bot"] = 1 }, proxy:targets "GET")
    assert.is_true(proxy:targets "POST"["http://bot.test:8081/events"] > 0)
  end)

  it("go requests of scripts", function()
    local server = http.serve(function() return 200, nil, "seen" end)
    local fake = fake_discord.start { shards = 1 }
    local proxy = connect_proxy.start { hosts = { ["service.test"] = server.url } }
    local g = gateway.start {
      fake = fake, bot = bot_support.start(),
      env = { http_proxy = proxy.url, no_proxy = "127.0.0.1" },
      script = [[
local gateway = require "tidegate"
gateway.on("ready", function()
  gateway.log.info("the service says " .. gateway.http.get("http://service.test/x").body)
  gateway.log.info("the bot's computer says " .. gateway.http.get("]] .. server.url .. [[/y").body)
end)
]] }
    g:wait_for_log "the service says seen"
    g:wait_for_log "the bot's computer says seen"
    assert.same({ ["http://service.test/x"] = 1 }, proxy:targets "GET")
    server:close()
  end)

  it("goes nothing that NO_PROXY names", function()
    local bot = bot_support.start()
    local fake = fake_discord.start { shards = 1 }
    local proxy = connect_proxy.start()
    local g = gateway.start {
      fake = fake, bot = bot, env = { all_proxy = proxy.url, NO_PROXY = "example.com, 127.0.0.0/8" },
    }
    g:wait_ready(1)
    bot:wait_for_events(1, "READY")
    assert.same({}, proxy.requests)
    assert.matches("REST http://127.0.0.1:%d+/api/v10 directly, the event handler %S+ directly", g.stderr)
  end)

  it("go loopback addresses, when the proxy is on this computer", function()
    local bot = bot_support.start()
    local fake = fake_discord.start { shards = 1 }
    local proxy = connect_proxy.start()
    local g = gateway.start { fake = fake, bot = bot, env = { http_proxy = proxy.url } }
    g:wait_ready(1)
    bot:wait_for_events(1, "READY")
    assert.is_true(proxy:targets "POST"[bot.url .. "/"] > 0)
    assert.equal(1, proxy:targets "CONNECT"[fake.gateway:gsub("ws://", "")])
  end)

  it("go no loopback addresses, when the proxy is on another computer", function()
    local wrap, why = names.wrap { ["proxy.test"] = { "127.0.0.1" } }
    if not wrap then
      pending(why)
      return
    end
    local bot = bot_support.start()
    local fake, proxy, place = world {}
    local url = "http://proxy.test:" .. proxy.port
    local g = gateway.start { fake = fake, bot = bot, wrap = wrap, env = env(place, { http_proxy = url }) }
    g:wait_ready(1)
    bot:wait_for_events(1, "READY")
    assert.same({}, proxy:targets "POST")
    assert.same({ [place.gateway] = 1 }, proxy:targets "CONNECT")
  end)

  it("goes no unix socket", function()
    local bot = bot_support.start { unix = paths.tmp() .. "/bot.sock" }
    local fake, proxy, place = world {}
    local g = gateway.start { fake = fake, bot = bot, env = env(place, { all_proxy = proxy.url }) }
    g:wait_ready(1)
    bot:wait_for_events(1, "READY")
    assert.same({}, proxy:targets "POST")
  end)

  it("goes nothing for HTTP_PROXY, which a web server may have set, and it is said", function()
    local fake = fake_discord.start { shards = 1 }
    local proxy = connect_proxy.start()
    local g = gateway.start { fake = fake, bot = bot_support.start(), env = { HTTP_PROXY = proxy.url } }
    g:wait_ready(1)
    assert.same({}, proxy.requests)
    assert.matches("HTTP_PROXY does not count, as with curl: http_proxy does", g.stderr, 1, true)
  end)
end)

describe("a proxy that does not let pass for a while", function()
  after_each(function()
    gateway.teardown()
    connect_proxy.cleanup()
  end)

  it("is given another try, and the shard comes up", function()
    local fake, proxy, place = world { tls = true }
    local refusals = 0
    proxy.policy = function(request)
      if request.target == place.gateway and refusals < 2 then
        refusals = refusals + 1
        return 502
      end
    end
    local variables = env(place, { https_proxy = proxy.url, TIDEGATE_HURRY = 20 })
    local g = gateway.start { fake = fake, bot = bot_support.start(), env = variables }
    g:wait_ready(1)
    assert.equal(2, refusals)
    assert.equal(1, fake:state("counters").counters.identifies)
  end)

  it("keeps events of a handler behind it waiting", function()
    local bot = bot_support.start()
    local fake, proxy, place = world { bot = bot }
    proxy.policy = function(request)
      return request.method == "POST" and 407 or nil
    end
    local variables = env(place, {
      http_proxy = proxy.url, EVENT_HANDLER_URL = "http://bot.test:8081", TIDEGATE_HURRY = 20,
    })
    local g = gateway.start { fake = fake, bot = bot, env = variables }
    g:wait_for_log "the proxy http://127.0.0.1:%d+ %(http_proxy%) wants a login %(407%)"
    proxy.policy = nil
    bot:wait_for_events(1, "READY")
  end)
end)

describe("a proxy that cannot be used", function()
  after_each(gateway.teardown)

  local function check(variables)
    local all = { DISCORD_TOKEN = "abc.def.ghi", INTENTS = 1 }
    for name, value in pairs(variables) do
      all[name] = value
    end
    return process.run({ paths.bin "tidegate", "check", "--json" }, { env = all })
  end

  for what, url in pairs {
    ["speaks SOCKS"] = "socks5://user:secret-word@127.0.0.1:1080",
    ["wants TLS"] = "https://user:secret-word@127.0.0.1:443",
  } do
    it(what .. ": refused for the gateway, at check and at start", function()
      local run = check { HTTPS_PROXY = url }
      assert.equal(1, run.exit_code)
      local problem = cjson.decode(run.stdout).problem
      local where = url:match "^%w+" .. "://127.0.0.1"
      assert.matches("the gateway's connections cannot go over the proxy " .. where, problem)
      assert.matches("(HTTPS_PROXY), only over one that begins with http://", problem, 1, true)
      assert.equal(0, check { HTTPS_PROXY = url, no_proxy = "gateway.discord.gg" }.exit_code)

      local fake = fake_discord.start { shards = 1 }
      local g = gateway.start { fake = fake, env = { all_proxy = url, REST_URL = false } }
      assert.equal(78, (g.process:wait()))
      assert.matches("cannot go over the proxy", g.stderr, 1, true)
      -- Where the gateway is has to be asked for first.
      g = gateway.start { fake = fake, env = { all_proxy = url, no_proxy = "127.0.0.1" } }
      g:wait_ready(1)
      assert.is_nil(g.stderr:find("secret", 1, true))
    end)
  end

  it("is no proxy: refused with the name of the variable", function()
    local run = check { https_proxy = "http://user:secret-word@proxy:port" }
    assert.equal(1, run.exit_code)
    local problem = cjson.decode(run.stdout).problem
    assert.matches("the environment variable https_proxy does not name a proxy", problem, 1, true)
    assert.is_nil(run.stdout:find("secret", 1, true))
    local g = gateway.start { env = { all_proxy = "ftp://user:secret-word@proxy:21" } }
    assert.equal(78, (g.process:wait()))
    assert.matches("the environment variable all_proxy does not name a proxy", g.stderr, 1, true)
    assert.is_nil(g.stderr:find("secret", 1, true))
  end)
end)

describe("tidegate check", function()
  it("shows what goes over which proxy", function()
    local run = process.run({ paths.bin "tidegate", "check", "--json" }, {
      env = {
        DISCORD_TOKEN = "abc.def.ghi", INTENTS = 1, HTTPS_PROXY = "http://user:secret-word@proxy.test:3128",
        EVENT_HANDLER_URL = "http://127.0.0.1:81,https://user:other-word@bot.test/x,https://127.0.0.1",
      },
    })
    assert.equal(0, run.exit_code)
    local shown = {}
    for i, route in ipairs(cjson.decode(run.stdout).proxies) do
      local proxy = route.proxy ~= cjson.null and route.proxy .. " " .. route.variable or "directly"
      shown[i] = route.what .. " " .. route.url .. " " .. proxy
    end
    assert.same({
      "REST https://discord.com/api/v10 http://proxy.test:3128 HTTPS_PROXY",
      "the gateway wss://gateway.discord.gg http://proxy.test:3128 HTTPS_PROXY",
      "the event handler http://127.0.0.1:81 directly",
      "the event handler https://bot.test/x http://proxy.test:3128 HTTPS_PROXY",
      "the event handler https://127.0.0.1 directly",
    }, shown)
    assert.is_nil(run.stdout:find("word", 1, true))
    local text = process.run({ paths.bin "tidegate", "check" }, {
      env = { DISCORD_TOKEN = "abc.def.ghi", INTENTS = 1, all_proxy = "proxy.test:3128" },
    }).stdout
    assert.matches("Proxies of the environment\n  REST +https://discord.com/api/v10 +"
      .. "over http://proxy.test:3128 %(all_proxy%)", text)
  end)
end)
