-- kit:route; run by `tidegate test`, through spec/functional/script/test_kit_spec.lua. The kit for plain
-- busted is asked the same in spec/plugin/rock_spec.lua.

local test = require "tidegate.test"

local SCRIPT = [[
local gateway = require "tidegate"
package.preload["tidegate.plugins.try.schema"] = function() return { fields = {} } end
package.preload["tidegate.plugins.try.handler"] = function()
  local handler = { VERSION = "1.0.0", PRIORITY = 500, API = 1 }
  function handler:load()
    self:route("GET", "/", function() return "top" end)
    self:route("POST", "/guilds/:id", function(request) return request, 201 end)
    self:route("GET", "/guilds/all", function() return nil, { code = "lost", message = "it is lost" } end)
    self:route("GET", "/far", function() self:sleep(5000) return assert(self.http.get "http://far/").data end)
    self:route("GET", "/never", function() self:sleep(3600000) end)
    self:route("GET", "/wrong", function() error "it cannot" end)
    self:route("PUT", "/list", function(request) return request.body end)
  end
  return handler
end
gateway.plugin "try"
]]

local function load(options)
  options = options or {}
  options.role = options.role or "manager"
  return test.script(SCRIPT, options)
end

local function raises(part, fn)
  local ok, problem = pcall(fn)
  assert.is_false(ok)
  assert.matches(part, tostring(problem), 1, true)
end

describe("kit:route", function()
  it("answers as the control API does", function()
    local kit = load()
    assert.same({ status = 200, body = "top" }, kit:route("GET", "/plugins/try"))
    assert.same({ status = 200, body = "top" }, kit:route("HEAD", "/plugins/try/"))
    assert.same({ status = 201, body = {
      method = "POST", path = "/guilds/a%20b", params = { id = "a b" }, query = { q = "x y", e = "" },
      body = { n = 5 },
    } }, kit:route("POST", "/plugins/try/guilds/a%20b?q=x+y&e", { n = 5 }))
    assert.same({ status = 500, body = { code = "lost", error = "it is lost" } },
      kit:route("GET", "/plugins/try/guilds/all"))
    assert.same({}, kit:route("PUT", "/plugins/try/list", test.array()).body)
    assert.same({ status = 204 }, kit:route("PUT", "/plugins/try/list"))
    assert.equal(404, kit:route("GET", "/plugins/other").status)
    local answer = kit:route("DELETE", "/plugins/try/guilds/5")
    assert.same({ 405, "POST" }, { answer.status, answer.allow })
  end)

  it("lets the time pass that a route waits", function()
    local kit = load { keep_errors = true }
    kit:answer_http("http://far/", { json = { "answered" } })
    assert.same({ status = 200, body = { "answered" } }, kit:route("GET", "/plugins/try/far"))
    assert.equal(5000, kit:now())
    assert.equal(504, kit:route("GET", "/plugins/try/never").status)
    assert.equal(35000, kit:now())
    assert.equal(1, #kit:errors())
  end)

  it("fails a spec that meets an error of the plugin", function()
    raises("it cannot", function() load():route("GET", "/plugins/try/wrong") end)
    local kit = load { keep_errors = true }
    assert.equal(500, kit:route("GET", "/plugins/try/wrong").status)
    assert.matches("it cannot", kit:errors()[1].message, 1, true)
  end)

  it("is for a manager, and what is below /plugins", function()
    raises("role = \"manager\"", function() load({ role = "worker" }):route("GET", "/plugins/try") end)
    raises("below /plugins", function() load():route("GET", "/status") end)
  end)
end)
