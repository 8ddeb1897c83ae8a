-- The rock `tidegate`: an author of plugins tests with plain busted, without the program.

local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local process = require "spec.support.process"

local SPEC = [[
local test = require "tidegate.test"

describe("try", function()
  local kit

  before_each(function() kit = test.plugin("try", { word = "bad" }) end)

  it("filters", function()
    assert.equal("dropped", kit:event("MESSAGE_CREATE", { content = "bad" }).outcome)
    assert.equal("passed", kit:event("MESSAGE_CREATE", { content = "good" }).outcome)
    assert.equal(1, #kit:delivered "MESSAGE_CREATE")
  end)

  it("waits and asks", function()
    kit:answer_http("http://127.0.0.1/words", { json = { word = "worse" } })
    kit:advance(999)
    assert.equal(0, #kit:requests())
    kit:advance(1)
    assert.equal(1, #kit:requests "GET http://127.0.0.1/words")
    assert.equal("dropped", kit:event("MESSAGE_CREATE", { content = "worse" }).outcome)
    assert.equal(1, #kit:log "try: the word is worse")
  end)

  it("stands in front of methods, fails by name, and comes again", function()
    kit:answer("delivery:is_delivered", false)
    assert.is_true(kit.delivery:is_delivered(204))
    assert.same({ 204 }, kit:calls "delivery:is_delivered"[1].args)
    assert.has_error(function() kit:event("TYPING_START") end)
    kit:reload()
    assert.equal(1, #kit:log "try: back with bad")
  end)

  it("serves", function()
    local served = test.plugin("try", { word = "bad" }, { role = "manager", keep_errors = true })
    assert.same({ status = 200, body = "bad" }, served:route("GET", "/plugins/try"))
    assert.same({ status = 201, body = {
      method = "POST", path = "/guilds/a%20b", params = { id = "a b" }, query = { q = "x y", e = "" },
      body = { n = 5 },
    } }, served:route("POST", "/plugins/try/guilds/a%20b?q=x+y&e", { n = 5 }))
    assert.same({ status = 500, body = { code = "lost", error = "it is lost" } },
      served:route("GET", "/plugins/try/guilds/all"))
    assert.same({ status = 204 }, served:route("PUT", "/plugins/try/list"))
    assert.equal(404, served:route("GET", "/plugins/other").status)
    local answer = served:route("DELETE", "/plugins/try/guilds/5")
    assert.same({ 405, "POST" }, { answer.status, answer.allow })
    local before = served:now()
    assert.equal("slept", served:route("GET", "/plugins/try/nap").body)
    assert.equal(5000, served:now() - before)
    assert.equal(504, served:route("GET", "/plugins/try/never").status)
    assert.equal(500, served:route("GET", "/plugins/try/wrong").status)
    local errors = served:errors()
    assert.matches("it cannot", errors[#errors].message, 1, true)
    local ok, problem = pcall(kit.route, kit, "GET", "/plugins/try")
    assert.is_false(ok)
    assert.matches('role = "manager"', problem, 1, true)
  end)

  it("refuses what its schema does not know", function()
    local ok, problem = pcall(test.plugin, "try", { wrod = "x" })
    assert.is_false(ok)
    assert.matches("plugins.try.wrod: unknown; did you mean 'word'", problem, 1, true)
  end)
end)
]]

local PLUGIN = {
  schema = [[{ word = { type = "string", required = true } }]],
  more = [[
    function Handler:save() return { word = self.word } end
    function Handler:restore(saved) self.log.info("back with %s", saved.word) end
  ]],
  load = [[
    self.word = config.word
    self:filter("MESSAGE_CREATE", function(event)
      if event.data.content == self.word then return false end
    end)
    self:on("TYPING_START", function() error "no typing" end)
    self:override("delivery", "is_delivered", function(next, delivery, status)
      return next(delivery, status) or status == 204
    end)
    self:route("GET", "/", function() return self.word end)
    self:route("POST", "/guilds/:id", function(request) return request, 201 end)
    self:route("GET", "/guilds/all", function() return nil, { code = "lost", message = "it is lost" } end)
    self:route("GET", "/nap", function() self:sleep(5000) return "slept" end)
    self:route("GET", "/never", function() self:sleep(3600000) end)
    self:route("GET", "/wrong", function() error "it cannot" end)
    self:route("PUT", "/list", function(request) return request.body end)
    self:after(1000, function()
      local response = assert(self.http.get "http://127.0.0.1/words")
      self.word = response.data.word
      self.log.info("the word is %s", self.word)
    end)
  ]],
}

local function run(argv, options)
  local child = process.start(argv, options)
  child:wait(60000)
  return child.exit_code, child.stdout .. child.stderr
end

describe("the rock of the gateway", function()
  local tree

  setup(function()
    tree = paths.tmp()
    local code, output = run({ "luarocks", "--lua-version=5.1", "--tree=" .. tree, "make", "--deps-mode=none",
                               "rockspec/tidegate/tidegate-0.1.0-1.rockspec" }, { cwd = paths.root })
    assert.equal(0, code, output)
  end)

  it("tests a plugin with plain busted", function()
    local dir = paths.tmp()
    plugins.tree({ try = PLUGIN }, dir)
    local spec = paths.write(dir .. "/try_spec.lua", SPEC)
    local here = ("%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua"):format(dir, dir)
    local there = ("%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua;;"):format(tree, tree)
    local code, output = run({ "busted", "--lua=luajit", "-o", "TAP", spec },
      { cwd = dir, env = { LUA_PATH = here .. ";" .. there, PATH = os.getenv "PATH" } })
    assert.equal(0, code, output)
    assert.matches("1%.%.5", output)
  end)

  it("has the types for editors", function()
    local found = paths.read(tree .. "/share/lua/5.1/tidegate/meta/plugin.lua")
    assert.matches("@class tidegate.Plugin\n", found, 1, true)
  end)

  it("is the version of the program", function()
    local code, output = run { paths.bin "tidegate", "version" }
    assert.equal(0, code)
    local rockspec = paths.read(paths.root .. "/rockspec/tidegate/tidegate-0.1.0-1.rockspec")
    assert.equal(output:match "(%d+%.%d+%.%d+)", rockspec:match 'version = "(.-)%-1"')
  end)
end)
