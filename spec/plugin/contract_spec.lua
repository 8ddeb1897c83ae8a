-- What a plugin is, and what becomes of one that is not as it should be.

local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"

local function start(list, text, options)
  options = options or {}
  options.reload = false
  options.env = options.env or {}
  options.env.TIDEGATE_ROCKS_TREES = plugins.tree(list)
  options.script = plugins.script(text)
  local s = scene.start(options)
  s.tree = options.env.TIDEGATE_ROCKS_TREES
  return s
end

-- The refusal of a script that names these plugins.
local function refusal(list, text)
  local code, _, problem = plugins.check(list, text)
  assert.equal(1, code, problem)
  return problem
end

describe("a plugin", function()
  after_each(scene.stop)

  it("has a self with which it filters, listens, waits and logs, in both roles", function()
    local s = start({ try = { schema = [[{ words = { type = "array", elements = { type = "string" } } }]],
      load = [[
        self:filter("MESSAGE_CREATE", function(event)
          for _, word in ipairs(config.words) do
            if event.data.content:find(word, 1, true) then return false end
          end
        end)
        self:on("TYPING_START", function(event)
          self:sleep(1)
          self.log.info("typing %s", event.data.user_id)
        end)
        self:after(1, function() self.log.info("a timer of the %s, %s", self.role, self.name) end)
        self:spawn(function(what) self.log.info(what) end, "100% spawned")
        self.metrics.counter("loads"):add()
      ]] } }, [[gateway.plugin("try", { words = { "bad" } })]])
    for _, content in ipairs { "a bad word", "a good one" } do
      s.fake:emit { event = "MESSAGE_CREATE", shard = 0,
                  d = { id = "1", channel_id = "1", content = content } }
    end
    s:type "42"
    s.gateway:wait_for_log "try: typing 42"
    s.gateway:wait_for_log "try: a timer of the manager, try"
    s.gateway:wait_for_log "try: a timer of the worker, try"
    s.gateway:wait_for_log "try: 100%% spawned"
    local events = s.bot:wait_for_events(1, "MESSAGE_CREATE")
    assert.matches("a good one", events[1].body, 1, true)
    local page = prometheus.parse(s.gateway:control("GET", "/metrics").body)
    assert.equal(2, page:value("loads", { plugin = "try" }))
  end)

  it("is there twice under two names, each with its configuration and state", function()
    local s = start({ try = { schema = [[{ word = { type = "string", required = true } }]], load = [[
      self.state.word = config.word
      self:on("TYPING_START", function() self.log.info("says %s", self.state.word) end)
    ]] } }, [[
      gateway.plugin("try", { word = "one" })
      gateway.plugin("try", { word = "two" }, { as = "again" })
    ]])
    s:type "1"
    s.gateway:wait_for_log "try: says one"
    s.gateway:wait_for_log "again: says two"
  end)

  it("carries what it saves, and its state, through a reload, and unloads before", function()
    local s = start({ try = { more = [[
      function Handler:unload() self.log.info("unloads with %d", self.count) end
      function Handler:save() return { count = self.count } end
      function Handler:restore(saved) self.count = saved.count end
    ]], load = [[
      self.count = 0
      self.state.loads = (self.state.loads or 0) + 1
      self:on("TYPING_START", function()
        self.count = self.count + 1
        self.log.info("count %d, load %d", self.count, self.state.loads)
      end)
    ]] } }, [[gateway.plugin "try"]])
    s:type "1"
    s.gateway:wait_for_log "try: count 1, load 1"
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "try: unloads with 1"
    s:type "1"
    s.gateway:wait_for_log "try: count 2, load 2"
  end)

  it("leaves nothing behind after 200 reloads", function()
    local s = start({ try = { load = [[
      self:filter("MESSAGE_CREATE", function() end)
      self:on("TYPING_START", function() self.log.info("heard") end)
      self:every(60000, function() end)
      self:override("delivery", "is_delivered", function(next, ...) return next(...) end)
    ]] } }, [[gateway.plugin "try"]])
    local function memory()
      local page = prometheus.parse(s.gateway:control("GET", "/metrics").body)
      return page:value("tidegate_lua_memory_bytes", { worker = "0" })
    end
    for _ = 1, 10 do assert.is_true((s.gateway:reload())) end
    local before = memory()
    for _ = 1, 190 do assert.is_true((s.gateway:reload())) end
    assert.is_true(memory() < before * 1.5, ("%d bytes, then %d"):format(before, memory()))
    s:type "1"
    s.gateway:wait_for_log "try: heard"
    assert.equal(1, s.gateway:count_log "try: heard")
  end)

  it("that fails at run time is named and counted, and hurts nobody else", function()
    local s = start({ try = { load = [[
      self:filter("MESSAGE_CREATE", function() error "filter fault" end)
      self:on("TYPING_START", function() error "handler fault" end)
      self:after(1, function() error "timer fault" end)
    ]] } }, [[
      gateway.plugin("try", nil, { as = "mine" })
      gateway.on("TYPING_START", function() gateway.log.info "the script's own" end)
    ]])
    s.fake:emit { event = "MESSAGE_CREATE", shard = 0, d = { id = "1", channel_id = "1", content = "x" } }
    s:type "1"
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
    s.gateway:wait_for_log "filter of MESSAGE_CREATE %(plugin mine, handler.lua:%d+%) failed; the event"
    s.gateway:wait_for_log "TYPING_START %(plugin mine, handler.lua:%d+%) failed"
    s.gateway:wait_for_log "gateway.after %(plugin mine, handler.lua:%d+%) failed"
    s.gateway:wait_for_log "the script's own"
    local page = prometheus.parse(s.gateway:control("GET", "/metrics").body)
    local labels = { plugin = "mine", group = "filter", worker = "0" }
    assert.equal(1, page:value("tidegate_lua_errors_total", labels))
  end)

  it("that does not load ends the start with 78, and leaves a reload without effect", function()
    local s = start({ try = { load = [[self.log.info "the good one"]] } }, [[gateway.plugin "try"]])
    plugins.tree({ try = { load = [[error "not today"]] } }, s.tree)
    assert.is_false((s.gateway:reload()))
    s.gateway:wait_for_log "plugin try does not load: [^\n]*not today"
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    local again = s:again { ready = false, state_dir = paths.tmp() .. "/state",
                            env = { TIDEGATE_ROCKS_TREES = s.tree } }
    again.process:wait()
    assert.equal(78, again.exit_code)
    assert.matches("plugin try does not load: .*not today", again.stderr)
  end)

  it("is refused with all its mistakes, each with its path", function()
    local list = { ["drop-bots"] = { schema = [[{
      channels = { type = "array", elements = { type = "string", match = "^%d+$" } },
      rate = { type = "number", between = { 0, 1 } },
      token = { type = "string", secret = true, required = true, match = "^t" },
    }]] } }
    local problem = refusal(list, [[gateway.plugin("drop-bots",
      { channels = { "1", 5, "x" }, rate = 2, chanels = 1, token = "secret-word" })]])
    for _, words in ipairs {
      "plugins.drop-bots.channels[2]: expected a string, got 5",
      'plugins.drop-bots.channels[3]: "x" does not match the pattern ^%d+$',
      "plugins.drop-bots.rate: expected 0 to 1, got 2",
      "plugins.drop-bots.chanels: unknown; did you mean 'channels'?",
      "plugins.drop-bots.token: the value does not match the pattern ^t",
    } do
      assert.matches(words, problem, 1, true)
    end
    assert.not_matches("secret%-word", problem)
    problem = refusal(list, [[gateway.plugin "drop-bots"]])
    assert.matches("plugins.drop-bots.token: is required: a string", problem, 1, true)
  end)

  it("is refused for another interface, a handler that is none, and names that are taken", function()
    local list = {
      old = { api = 2 }, odd = { handler = "return 5" }, half = { handler = "return { API = 1 }" },
      taken = { more = "function Handler:filter() end" },
      torn = { schema = [[{ x = { type = "text" } }]] },
    }
    for name, words in pairs {
      old = "plugin old is made for version 2 of the plugin interface; this gateway has version 1",
      odd = "plugin odd: its handler returns number instead of a table",
      half = "plugin half: its handler has no VERSION (a string)",
      taken = "plugin taken: 'filter' of its handler is a name of the gateway's",
      torn = 'plugin torn: its schema is wrong: schema.x.type: "text" is none of string,',
      ["no-such"] = "there is no plugin 'no-such'",
    } do
      assert.matches(words, refusal(list, ("gateway.plugin %q"):format(name)), 1, true)
    end
    assert.matches("plugin half is loaded already", refusal({ half = {} },
      [[gateway.plugin "half"; gateway.plugin "half"]]), 1, true)
  end)

  it("is refused in a version that does not fit, also where no rock is", function()
    local list = { mine = { version = "1.4.0" } }
    local problem = refusal(list, [[gateway.plugin("mine", nil, { version = "~> 2.0" })]])
    assert.matches('plugin mine: version 1.4.0 %(.*%) does not fit "~> 2.0"', problem)
    problem = refusal(list, [[gateway.plugin("drop-bots", nil, { version = ">= 9" })]])
    assert.matches('plugin drop%-bots: version .* %(built in%) does not fit ">= 9"', problem)
    local code = plugins.check(list, [[gateway.plugin("mine", nil, { version = "~> 1" })]])
    assert.equal(0, code)
  end)

  it("is refused under a name that is too long, or none", function()
    for _, name in ipairs { ("a"):rep(41), "Upper", "1st", "" } do
      local problem = refusal({ mine = {} }, ('gateway.plugin("mine", nil, { as = %q })'):format(name))
      assert.matches("a name has up to 40 lower-case letters, digits and -", problem, 1, true)
    end
  end)

  it("cannot be left out by a script that catches its error", function()
    local problem = refusal({ try = { load = [[error "no"]] } }, [[pcall(gateway.plugin, "try")]])
    assert.matches("plugin try does not load", problem, 1, true)
    assert.matches("the script went on without it", problem, 1, true)
  end)

  it("reads references when it loads, and shows no secret", function()
    local file = paths.write(paths.tmp() .. "/url", "http://127.0.0.1/secret-path\n")
    local _, out, problem = plugins.check({ try = {
      schema = [[{ url = { type = "string", secret = true, reference = true } }]],
      load = [[assert(config.url == "http://127.0.0.1/secret-path", "it is not read")]],
    } }, ([[gateway.plugin("try", { url = { file = %q } })]]):format(file), "--json")
    assert.equal("", problem)
    assert.not_matches("secret%-path", out)
  end)
end)

