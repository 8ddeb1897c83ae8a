-- What plugins serve under /plugins/<name>/ of the control API, as its callers see it.

local cjson = require "cjson"
local http = require "spec.support.http"
local paths = require "spec.support.paths"
local plugins = require "spec.support.plugins"
local prometheus = require "spec.support.prometheus"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"

describe("routes of plugins", function()
  local s

  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  local function start(load, options)
    options = options or {}
    options.bot = false
    options.env = options.env or {}
    options.tree = plugins.tree { try = { load = load, more = options.more } }
    options.env.TIDEGATE_ROCKS_TREES = options.tree
    options.script = plugins.script(options.text or 'gateway.plugin("try")')
    s = scene.start(options)
    s.tree = options.tree
    return s
  end

  local function raw(method, path, options)
    return s.gateway:control(method, path, options)
  end

  local function ask(method, path, options)
    local answer = raw(method, path, options)
    if answer.body == "" then return answer.status end
    return answer.status, answer:json()
  end

  -- Puts the request onto a connection of its own and does not wait for its answer.
  local function begin(method, path)
    local client = raw_client.connect(s.gateway:control_url())
    client:write(("%s %s HTTP/1.1\r\nAuthorization: %s\r\nConnection: close\r\n\r\n"):format(method, path,
      s.gateway.control_secret or ""))
    return client
  end

  local function outcome(client)
    local text = client:wait_closed(20000)
    local status, body = text:match "^HTTP/1.1 (%d+) .-\r\n\r\n(.*)$"
    return tonumber(status), cjson.decode(body)
  end

  it("get what was asked as tables, and answer with what they return", function()
    start([[
      local seen = 0
      self:route("GET", "/stats", function()
        seen = seen + 1
        return { seen = seen, list = gateway.json.array {} }
      end)
      self:route("GET", "/", function() return "the top" end)
      self:route("POST", "/guilds/:guild_id/roles/:id", function(request) return request, 201 end)
      self:route("GET", "/guilds/all", function() return "all" end)
      self:route("GET", "/guilds/:id", function(request) return request.params.id end)
      self:route("DELETE", "/guilds/:id", function() end)
      self:route("PUT", "/false", function() return false end)
      self:route("PUT", "/gone", function() return nil, 410 end)
    ]], { more = 'local gateway = require "tidegate"' })
    assert.same({ 200, { seen = 1, list = {} } }, { ask("GET", "/plugins/try/stats") })
    local answer = raw("GET", "/plugins/try/stats")
    assert.equal("application/json", answer.headers["content-type"])
    assert.matches('"list":[]', answer.body, 1, true)
    assert.same({ 200, "the top" }, { ask("GET", "/plugins/try") })
    assert.same({ 200, "the top" }, { ask("GET", "/plugins/try/") })
    answer = raw("POST", "/plugins/try/guilds/12/roles/a%2Fb%20c?q=a+b%26c&flag&q2=%C3%A9&q2=x",
      { body = '{"empty":[],"n":9007199254740991,"none":null}' })
    local body = answer:json()
    assert.same({ 201, "POST", "/guilds/12/roles/a%2Fb%20c" }, { answer.status, body.method, body.path })
    assert.same({ guild_id = "12", id = "a/b c" }, body.params)
    assert.same({ q = "a b&c", flag = "", q2 = "x" }, body.query)
    assert.same(cjson.null, body.body.none)
    assert.matches('"empty":[]', answer.body, 1, true)
    assert.matches('"n":9007199254740991', answer.body, 1, true)
    for text, expected in pairs { ["[1,2]"] = { 1, 2 }, ["7"] = 7, ['"x"'] = "x" } do
      assert.same(expected, select(2, ask("POST", "/plugins/try/guilds/1/roles/2", { body = text })).body)
    end
    assert.is_nil(select(2, ask("POST", "/plugins/try/guilds/1/roles/2")).body)
    assert.same({ 200, "all" }, { ask("GET", "/plugins/try/guilds/all") })
    assert.same({ 200, "7" }, { ask("GET", "/plugins/try/guilds/7") })
    answer = raw("DELETE", "/plugins/try/guilds/7")
    assert.same({ 204, "" }, { answer.status, answer.body })
    assert.is_nil(answer.headers["content-length"])
    assert.same({ 200, false }, { ask("PUT", "/plugins/try/false") })
    assert.same({ 410 }, { ask("PUT", "/plugins/try/gone") })
  end)

  it("are there under the instance's name, and need the secret", function()
    start('self:route("GET", "/name", function() return self.name end)',
      { text = 'gateway.plugin("try")\ngateway.plugin("try", {}, { as = "other" })',
        env = { TIDEGATE_CONTROL_SECRET = "the secret of this spec" } })
    assert.same({ 200, "try" }, { ask("GET", "/plugins/try/name") })
    assert.same({ 200, "other" }, { ask("GET", "/plugins/other/name") })
    for _, path in ipairs { "/plugins/try/name", "/plugins/nobody", "/plugins" } do
      assert.equal(401, (ask("GET", path, { secret = false })))
      assert.equal(401, (ask("GET", path, { secret = "the secret of this spex" })))
    end
  end)

  it("that are not there are answered with those that are", function()
    start [[
      self:route("GET", "/stats", function() return 1 end)
      self:route("POST", "/stats", function() return 1 end)
      self:route("PUT", "/:any", function() return 1 end)
    ]]
    local all = { "PUT /plugins/try/:any", "GET /plugins/try/stats", "POST /plugins/try/stats" }
    table.sort(all)
    for _, path in ipairs {
      "/plugins", "/plugins/", "/plugins/tri/stats", "/plugins/try/stats/x", "/plugins/try", "/plugins/try/",
      "/plugins//try",
    } do
      local status, body = ask("GET", path)
      assert.equal(404, status, path)
      assert.matches(path, body.error, 1, true)
      table.sort(body.routes)
      assert.same(all, body.routes, path)
    end
    local answer = raw("DELETE", "/plugins/try/stats")
    assert.same({ 405, "GET, HEAD, POST, PUT" }, { answer.status, answer.headers.allow })
    assert.equal(404, (ask("GET", "/pluginsx")))
    assert.equal(200, raw("HEAD", "/plugins/try/stats").status)
    assert.equal(400, (ask("GET", "/plugins/try/a%2")))
    assert.equal(400, (ask("GET", "/plugins/try/stats?x=%zz")))
  end)

  it("may wait, also for HTTP, while others are served", function()
    local server = http.serve(function(request) return 200, nil, '"' .. request.path .. '"' end)
    start(([[
      self:route("GET", "/nap/:ms", function(request)
        assert(self:sleep(tonumber(request.params.ms)))
        return "slept"
      end)
      self:route("GET", "/http", function() return assert(self.http.get("%s/far")).data end)
      self:route("GET", "/now", function() return "now" end)
    ]]):format(server.url))
    local client = begin("GET", "/plugins/try/nap/400")
    assert.same({ 200, "now" }, { ask("GET", "/plugins/try/now") })
    assert.same({ 200, "/far" }, { ask("GET", "/plugins/try/http") })
    assert.same({ 200, "slept" }, { outcome(client) })
    server:close()
  end)

  it("that fail say so, in the log with their place, and count for the plugin", function()
    start [[
      self:route("GET", "/raise", function() local none = nil; return none.x end)
      self:route("GET", "/err", function() return nil, { code = "lost", message = "it is lost" } end)
      self:route("GET", "/text", function() return nil, "plain words" end)
      self:route("GET", "/fn", function() return { a = { print } } end)
      self:route("GET", "/status", function() return 1, 99 end)
      self:route("GET", "/status2", function() return 1, "x" end)
      self:route("GET", "/loop", function() while true do end end)
      self:route("GET", "/large", function() return ("x"):rep(1024 * 1024) end)
      self:route("GET", "/fits", function() return ("x"):rep(1024 * 1024 - 2) end)
    ]]
    assert.same({ 500, { error = "it is lost", code = "lost" } }, { ask("GET", "/plugins/try/err") })
    assert.same({ 500, { error = "plain words", code = "failed" } }, { ask("GET", "/plugins/try/text") })
    for path, words in pairs {
      raise = "attempt to index local 'none' %(a nil value%)\n +stack traceback:",
      fn = "it returned a function at a%[1%]", status = "it returned the status 99;",
      status2 = "as its status, a string", loop = "50 ms",
      large = "1048578 bytes of JSON; 1048576 are allowed",
    } do
      local status, body = ask("GET", "/plugins/try/" .. path)
      assert.same({ 500, "failed" }, { status, body.code }, path)
      assert.matches("log says why", body.error, 1, true)
      s.gateway:wait_for_log(("route GET /%s %%(plugin try, handler.lua:%%d+%%) failed; "
        .. "its request gets 500\n[^\n]*%s"):format(path, words))
    end
    assert.equal(200, (ask("GET", "/plugins/try/fits")))
    local page = prometheus.parse(s.gateway:control("GET", "/metrics").body)
    assert.equal(6, page:value("tidegate_lua_errors_total", { worker = "manager", plugin = "try",
      group = "route" }))
    assert.equal(9, page:value("tidegate_lua_calls_total", { worker = "manager", group = "route" }))
  end)

  it("are refused when the request is no good", function()
    start 'self:route("POST", "/", function(request) return #request.body.text end)'
    local text = ("x"):rep(1024 * 1024 - 11)
    assert.same({ 200, #text }, { ask("POST", "/plugins/try", { body = '{"text":"' .. text .. '"}' }) })
    assert.equal(413, (ask("POST", "/plugins/try", { body = '{"text":"' .. text .. 'x"}' })))
    local status, body = ask("POST", "/plugins/try", { body = '{"text": nope}' })
    assert.equal(400, status)
    assert.matches("line 1, column", body.error, 1, true)
  end)

  it("that do not return end after their time, and there are only so many at once", function()
    start([[
      local ended, beyond = 0, 0
      self:route("GET", "/wait", function()
        local ok, err = self:sleep(3600000)
        if not ok and err.code == "cancelled" then ended = ended + 1 end
        self:sleep(1)
        beyond = beyond + 1
        return "too late"
      end)
      self:route("GET", "/ended", function() return { ended, beyond } end)
    ]], { hurry = 10 })
    local clients = {}
    for i = 1, 65 do clients[i] = begin("GET", "/plugins/try/wait") end
    local busy = 0
    for i = 1, 65 do
      local status, body = outcome(clients[i])
      if status == 503 then
        busy = busy + 1
        assert.equal("busy", body.code)
      else
        assert.same({ 504, "timeout" }, { status, body.code })
      end
    end
    assert.equal(1, busy)
    assert.same({ 200, { 64, 0 } }, { ask("GET", "/plugins/try/ended") })
    s.gateway:wait_for_log "route GET /wait %(plugin try, handler.lua:%d+%) failed; its request gets 504"
    assert.equal(504, (ask("GET", "/plugins/try/wait"))) -- the places are free again
  end)

  it("are those of the generation that runs", function()
    start [[
      self:route("GET", "/old", function() return "old" end)
      self:route("GET", "/both", function() return "first" end)
      self:route("GET", "/wait", function() self.log.info "it waits" self:sleep(3600000) return "old" end)
    ]]
    local client = begin("GET", "/plugins/try/wait")
    s.gateway:wait_for_log "it waits"
    plugins.tree({ try = { load = [[
      self:route("GET", "/new", function() return "new" end)
      self:route("GET", "/both", function() return "second" end)
      error "not yet"
    ]] } }, s.tree)
    assert.equal(422, (ask("POST", "/reload")))
    assert.same({ 200, "first" }, { ask("GET", "/plugins/try/both") })
    plugins.tree({ try = { load = [[
      self:route("GET", "/new", function() return "new" end)
      self:route("GET", "/both", function() return "second" end)
    ]] } }, s.tree)
    assert.equal(200, (ask("POST", "/reload")))
    local status, body = outcome(client)
    assert.same({ 503, "cancelled" }, { status, body.code })
    assert.same({ 200, "second" }, { ask("GET", "/plugins/try/both") })
    assert.same({ 200, "new" }, { ask("GET", "/plugins/try/new") })
    assert.equal(404, (ask("GET", "/plugins/try/old")))
    paths.write(s.gateway.script, plugins.script "")
    assert.equal(200, (ask("POST", "/reload")))
    status, body = ask("GET", "/plugins/try/both")
    assert.same({ 404, {} }, { status, body.routes })
  end)

  it("are let go of when the gateway stops", function()
    start [[
      self:route("GET", "/wait", function() self.log.info "it waits" self:sleep(3600000) return "old" end)
    ]]
    local client = begin("GET", "/plugins/try/wait")
    s.gateway:wait_for_log "it waits"
    assert.equal(0, (s.gateway:stop()))
    client:wait_closed()
  end)

  it("that end the manager are switched off at the second death, alone", function()
    local function run(gateway)
      raw_client.connect(gateway:control_url()):write("GET /plugins/try/end HTTP/1.1\r\n\r\n")
      gateway.process:wait(20000)
      return s:again { ready = false }
    end
    start([[
      self:route("GET", "/end", function() ffi.C._exit(3) end)
      self:route("GET", "/fine", function() return "fine" end)
    ]], { more = 'local ffi = require "ffi"\nffi.cdef "void _exit(int);"', reload = false })
    for _ = 1, 2 do
      run(s.gateway):wait_for_log "error manager: inside of self:route %(plugin try, handler.lua:%d+%)"
    end
    s.gateway:wait_for_log "self:route[^\n]* has ended its process 2 times in 10 minutes: it is switched off"
    local status, body = ask("GET", "/plugins/try/end")
    assert.same({ 503, "switched_off" }, { status, body.code })
    assert.same({ 200, "fine" }, { ask("GET", "/plugins/try/fine") })
  end)

  it("that cannot be are mistakes of the plugin, in check and in both roles", function()
    local function refusal(load)
      local code, _, problem = plugins.check({ try = { load = load } }, 'gateway.plugin("try")')
      assert.equal(1, code)
      return problem
    end
    for call, words in pairs {
      ['self:route("get", "/x", print)'] =
        "there is no method 'get' (known: GET, POST, PUT, PATCH, DELETE); did you mean 'GET'?",
      ['self:route("GET", "x", print)'] = "'x' does not begin with a '/'",
      ['self:route("GET", "/x/", print)'] = "'/x/' has an empty part",
      ['self:route("GET", "/x//y", print)'] = "'/x//y' has an empty part",
      ['self:route("GET", "/a b", print)'] = "'/a b': a part has letters, digits and -._~, or is a :name",
      ['self:route("GET", "/:1", print)'] = "'/:1': behind a ':' stands a name of letters, digits and _",
      ['self:route("GET", "/:a/b/:a", print)'] = "'/:a/b/:a' has the same name twice",
      ['self:route("GET", "/x")'] = "expected a function for GET /x, got nil",
      ['self:route("GET", 5, print)'] = 'expected a path, as "/stats", got number',
      ['self:route("GET", "/' .. ("a/"):rep(15) .. 'b", print)'] = "b' has more than 15 parts",
    } do
      local problem = refusal(call)
      assert.matches("self:route: ", problem, 1, true)
      assert.matches(words, problem, 1, true)
      assert.matches("handler.lua:5:", problem, 1, true)
    end
    local twice = 'self:route("GET", "/:a", print) self:route("GET", "/:b", print)'
    local problem = refusal(twice)
    assert.matches("self:route: GET /:b is served already, by route GET /:a (plugin try", problem, 1, true)
  end)
end)
