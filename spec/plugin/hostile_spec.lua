-- Plugins that loop, throw, wait where they must not, and save what cannot be kept.

local loop = require "spec.support.loop"
local plugins = require "spec.support.plugins"
local scene = require "spec.support.scene"

local function start(list, text)
  local tree = plugins.tree(list)
  local s = scene.start {
    reload = false, env = { TIDEGATE_ROCKS_TREES = tree }, script = plugins.script(text),
  }
  s.tree = tree
  return s
end

describe("a plugin that", function()
  after_each(scene.stop)

  it("loops while it loads is stopped, and the reload has no effect", function()
    local s = start({ try = {} }, [[gateway.plugin "try"]])
    plugins.tree({ try = { load = "while true do end" } }, s.tree)
    assert.is_false((s.gateway:reload(30000)))
    s.gateway:wait_for_log "stopped: it ran longer than its budget of 500 ms %(plugin try%)"
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
  end)

  it("waits while it loads is told where it may", function()
    local code, _, problem = plugins.check({ try = { load = "self:sleep(1)" } }, [[gateway.plugin "try"]])
    assert.equal(1, code)
    assert.matches("plugin try does not load: .*gateway.sleep", problem)
  end)

  it("loops in a filter or an override is stopped by name, and events pass", function()
    local s = start({ try = { load = [[
      self:filter("TYPING_START", function() while true do end end)
      self:override("delivery", "is_delivered", function() while true do end end)
    ]] } }, [[jit.off(); gateway.plugin "try"]])
    s:type "1"
    s.bot:wait_for_events(1, "TYPING_START")
    s.gateway:wait_for_log "filter of TYPING_START %(plugin try, handler.lua:%d+%) failed"
    s.gateway:wait_for_log "is_delivered %(plugin try, handler.lua:%d+%) failed; the default is used"
  end)

  it("loops in an override again and again is switched off alone, and costs no event", function()
    local s = start({
      try = { load = [[self:override("delivery", "is_delivered", function() while true do end end)]] },
      good = { load = [[self:override("delivery", "is_delivered", function(next, ...)
        self.log.info "asked"
        return next(...)
      end)]], priority = 1 },
    }, [[jit.off(); gateway.plugin "try"; gateway.plugin "good"]])
    for i = 1, 12 do s:type(tostring(i)) end
    s.bot:wait_for_events(12, "TYPING_START")
    s.gateway:wait_for_log "is_delivered %(plugin try, handler.lua:%d+%) failed 10 times in a minute and is"
    local before = s.gateway:count_log "good: asked"
    s:type "13"
    s.bot:wait_for_events(13, "TYPING_START")
    loop.wait_for("the other one", function() return s.gateway:count_log "good: asked" > before end)
  end)

  it("throws in unload, save or restore is named, and the reload goes on", function()
    for _, part in ipairs { "unload", "save", "restore" } do
      local s = start({ try = { more = ([[
        function Handler:save() return { 1 } end
        function Handler:%s() error "thrown" end
      ]]):format(part), load = [[self.log.info "here"]] } }, [[gateway.plugin "try"]])
      assert.is_true((s.gateway:reload()))
      s.gateway:wait_for_log "%(plugin try, init.lua:%d+%) failed; [^\n]*\n[^\n]*thrown"
      s:type "1"
      s.bot:wait_for_events(1, "TYPING_START")
      scene.stop()
    end
  end)

  it("saves functions loses them alone", function()
    local s = start({ try = { more = [[
      function Handler:save() return { n = 7, f = print } end
      function Handler:restore(saved) self.log.info("n %d, f %s", saved.n, tostring(saved.f)) end
    ]] } }, [[gateway.plugin "try"]])
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "try: n 7, f nil"
  end)
end)
