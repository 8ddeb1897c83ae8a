-- lua-cjson in scripts: it is there wherever one runs, agrees with gateway.json where it can, and neither its
-- settings nor what it is given harm the gateway.

local overlay = require "spec.support.overlay"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

after_each(process.cleanup)

local TOKEN = 'gateway.configure { token = "abc.def.ghi", intents = 0 }\n'

-- A folder with bot.lua and what else it needs.
local function folder(text, files)
  local dir = paths.tmp()
  for name, content in pairs(files or {}) do paths.write(dir .. "/" .. name, content) end
  paths.write(dir .. "/bot.lua", 'local gateway = require "tidegate"\n' .. text)
  return dir
end

-- The top level of the script, in both roles.
local function passes(text)
  local run = process.run { paths.bin "tidegate", "check", folder(TOKEN .. text) .. "/bot.lua" }
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
end

local function test(text, files)
  local dir = folder(text, files)
  local run = process.run({ paths.bin "tidegate", "test", "." }, { cwd = dir, timeout = 60000 })
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
end

local function start(text, options)
  options = options or {}
  options.script = folder(text, options.files) .. "/bot.lua"
  options.files = nil
  return scene.start(options)
end

describe("cjson is there", function()
  after_each(scene.stop)

  it("in `tidegate check`, with cjson.safe", function()
    passes [[
local cjson, safe = require "cjson", require "cjson.safe"
assert(cjson.decode '[1]' [1] == 1 and cjson.encode { 1 } == "[1]")
assert(not pcall(cjson.decode, "{"))
assert(safe.decode "{" == nil)
]]
  end)

  it("in a gateway, for the script and its modules, in each process, before and after reloads", function()
    local s = start([[
local read = require "reader"
local cjson = require "cjson".new()
gateway.on("load", function() gateway.log.info("loaded %s", cjson.encode { role = gateway.role }) end)
gateway.state.nothing = gateway.state.nothing or require "cjson".null
gateway.filter("TYPING_START", function(event)
  local d = read(event.raw).d
  d.seen = gateway.state.nothing
  return d
end)
gateway.on("TYPING_START", function(event)
  gateway.log.info("user %s, %s", read(event.raw).d.user_id, cjson.encode(event.data.user_id))
end)
]], { files = { ["reader.lua"] = 'return require "cjson.safe".new().decode\n' } })
    for i = 1, 3 do
      s:type(tostring(i))
      assert.matches('"seen":null', s.bot:wait_for_events(i, "TYPING_START")[i].body, 1, true)
      s.gateway:wait_for_log(('user %d, "%d"'):format(i, i))
      assert.is_true((s.gateway:reload()))
    end
    s.gateway:wait_for_log 'loaded {"role":"manager"}'
    s.gateway:wait_for_log 'loaded {"role":"worker"}'
    assert.equal(0, s.gateway:count_log "lua%-cjson")
    assert.equal(0, s.gateway:count_log "did not survive the reload")
  end)

  it("in `tidegate test`, for the spec and for the script", function()
    test('gateway.state.text = require "cjson".encode { gateway.json.null }\n', {
      ["bot_spec.lua"] = [[
        it("is there", function()
          assert.equal("[1]", require "cjson".encode { 1 })
          local test = require "tidegate.test"
          assert.equal(require "cjson".null, test.null)
          assert.equal("[null]", test.load "bot.lua":eval "return gateway.state.text")
        end)
      ]],
    })
  end)
end)

describe("cjson and gateway.json", function()
  it("have one null, and read what the other one has written", function()
    passes [[
local cjson, json = require "cjson", gateway.json
assert(cjson.null == json.null and require "cjson.safe".null == json.null)
assert(cjson.encode { json.null } == "[null]" and json.encode { cjson.null } == "[null]")
local text = '{"a":null,"b":[1,null,{"c":"\\u00e9\\ud83c\\udf0a"}],"d":-1.5,"e":true,"f":4503599627370496}'
for _, from in ipairs { cjson, json } do
  for _, to in ipairs { cjson, json } do
    local value = from.decode(from == cjson and text or to.encode(to.decode(text)))
    value = from.decode(to.encode(value))
    assert(value.a == json.null and value.b[2] == cjson.null and #value.b == 3)
    assert(value.b[3].c == "\195\169\240\159\140\138" and value.d == -1.5 and value.e == true)
  end
end
]]
  end)

  it("differ in what the manual says", function()
    passes [[
local cjson, json = require "cjson", gateway.json
local function refused(...) return not pcall(...) end
-- lists and objects that are empty
local text = '{"ferries":[]}'
assert(json.encode(json.decode(text)) == text)
for _, lost in ipairs { { cjson, cjson }, { cjson, json }, { json, cjson } } do
  assert(lost[1].encode(lost[2].decode(text)) == '{"ferries":{}}')
end
assert(json.encode(cjson.decode '{"embeds":[]}') == '{"embeds":[]}') -- by its name
assert(json.encode { embeds = {} } == '{"embeds":[]}' and cjson.encode { embeds = {} } == '{"embeds":{}}')
-- digits
assert(json.encode { 9007199254740991, 0.1 + 0.2 } == "[9007199254740991,0.30000000000000004]")
assert(cjson.encode { 9007199254740991, 0.1 + 0.2 } == "[9.007199254741e+15,0.3]")
-- torn text
assert(cjson.encode { "\195" } == '["\195"]' and json.encode { "\195" } == '["\239\191\189"]')
-- lists with holes
assert(cjson.encode { [1] = 1, [3] = 3 } == "[1,null,3]" and refused(json.encode, { [1] = 1, [3] = 3 }))
assert(refused(cjson.encode, { [1000] = 1 }))
-- what is no number
assert(refused(cjson.encode, { 0 / 0 }) and refused(json.encode, { 0 / 0 }))
for _, word in ipairs { "[nan]", "[-Infinity]", "[0x1F]", "[1e400]" } do
  assert(cjson.decode(word)[1] and json.decode(word) == nil, word)
end
-- errors: one raises, the other returns
local value, err = json.decode "{"
assert(value == nil and err.code == "bad_json" and refused(cjson.decode, "{"))
-- depth
local deep = ("["):rep(300) .. ("]"):rep(300)
assert(json.decode(deep) == nil and cjson.encode(cjson.decode(deep)))
]]
  end)
end)

describe("settings of cjson", function()
  after_each(scene.stop)

  -- All that there are, and what they are kept in.
  local SPOILED = [[
local cjson = require "cjson"
cjson.encode_number_precision(1)
cjson.encode_max_depth(1)
cjson.decode_max_depth(1)
cjson.encode_sparse_array(true, 0, 0)
cjson.encode_invalid_numbers(true)
cjson.decode_invalid_numbers(true)
cjson.encode_keep_buffer(false)
for name in pairs(cjson) do cjson[name] = false end
package.loaded.cjson, package.loaded["cjson.safe"] = false, false
]]

  it("of a script do not change what the gateway writes and reads", function()
    local s = start(SPOILED .. [[
gateway.filter("TYPING_START", function(event)
  local d = event.data
  d.digits, d.embeds, d.tags, d.nothing = 9007199254740991, {}, gateway.json.array(), gateway.json.null
  d.deep = { { { { 12345 } } } }
  return d
end)
]])
    s:type "7"
    local body = s.bot:wait_for_events(1, "TYPING_START")[1].body
    for _, part in ipairs {
      '"user_id":"7"', '"digits":9007199254740991', '"embeds":[]', '"tags":[]', '"nothing":null',
      '"deep":[[[[12345]]]]',
    } do
      assert.matches(part, body, 1, true)
    end
    assert.equal(200, s.gateway:control("GET", "/status").status)
  end)

  it("of a spec do not change what the test kit reads, nor the kit's those of the spec", function()
    test([[
gateway.on("TYPING_START", function()
  gateway.http.post("http://counter/", { json = { { { digits = 9007199254740991 } } } })
  local headers = { ["Content-Type"] = "application/json" }
  gateway.http.post("http://counter/", { body = "[nan]", headers = headers })
end)
]], {
      ["bot_spec.lua"] = [[
        local safe = require "cjson.safe"
        local test = require "tidegate.test"
        it("reads", function()
          assert.is_truthy(safe.decode "[nan]")
          safe.decode_max_depth(1)
          local kit = test.load "bot.lua"
          kit:answer_http("counter", { status = 204 })
          kit:event "TYPING_START"
          local requests = kit:requests "counter"
          assert.same({ { { digits = 9007199254740991 } } }, requests[1].json)
          assert.equal("[nan]", requests[2].body)
          assert.is_nil(requests[2].json)
          assert.is_nil(safe.decode "[ [1] ]")
        end)
      ]],
    })
  end)
end)

describe("cjson does not harm the gateway", function()
  after_each(scene.stop)

  it("with text or tables that are nested deeply, whatever depth it was set to", function()
    local s = start([[
gateway.configure { script = { inline_budget = 20000, slice_budget = 20000 } }
local cjson = require "cjson"
local function try(what, ...)
  local good, problem = pcall(...)
  gateway.log.info("%s: %s, %s", what, good, tostring(problem):sub(1, 60))
end
gateway.on("TYPING_START", function()
  local deep, own = ("["):rep(4e6), {}
  own[1] = own
  try("decode as it comes", cjson.decode, deep)
  try("encode as it comes", cjson.encode, own)
  cjson.decode_max_depth(2 ^ 31 - 1)
  cjson.encode_max_depth(2 ^ 31 - 1)
  try("decode without bounds", cjson.decode, deep)
  try("encode without bounds", cjson.encode, own)
  try("decode in a coroutine", coroutine.wrap(function() return cjson.decode(deep) end))
  gateway.log.info "that was all"
end)
]], { reload = false })
    s:type()
    s.gateway:wait_for_log("that was all", 30000)
    for what, problem in pairs {
      ["decode as it comes"] = "Found too many nested data structures %(1001%)",
      ["encode as it comes"] = "Cannot serialise, excessive nesting %(1001%)",
      ["decode without bounds"] = "Found too many nested data structures",
      ["encode without bounds"] = "Cannot serialise, excessive nesting",
      ["decode in a coroutine"] = "Found too many nested data structures",
    } do
      assert.equal(1, s.gateway:count_log(what .. ": false, " .. problem))
    end
    s:type()
    s.bot:wait_for_events(2, "TYPING_START")
    assert.equal(0, s.gateway:count_log "a worker has ended")
  end)

  it("with a text that is larger than script.memory: the call is stopped, the process goes on", function()
    local s = start([[
gateway.configure { script = { memory = 8 * 1024 * 1024, inline_budget = 20000, slice_budget = 20000 } }
local cjson = require "cjson"
gateway.on("TYPING_START", function(event)
  if event.data.user_id == "2" then
    gateway.log.info("still %s", cjson.encode { 1 })
    return
  end
  local list, text = {}, ("x"):rep(1e6)
  for i = 1, 20 do list[i] = text end
  cjson.encode(list)
end)
]], { reload = false })
    s:type "1"
    s.gateway:wait_for_log("TYPING_START %([^\n]*bot%.lua:4%) failed; it has ended\n"
      .. "[^\n]*stopped: it took more than script%.memory %(8%.0 MiB%) for itself")
    s:type "2"
    s.gateway:wait_for_log "still %[1%]"
    assert.equal(0, s.gateway:count_log "a worker has ended")
  end)
end)

describe("on a system", function()
  local root, why

  before_each(function() root, why = overlay.open(paths.build) end)

  local function start_in(text, words)
    local dir = root:path "/srv"
    paths.write(dir .. "/bot.lua", 'local gateway = require "tidegate"\n' .. text)
    paths.write(dir .. "/bot_spec.lua", [[it("loads", function() require "tidegate.test" end)]])
    local argv = { "sh", "-c", 'cd /srv && exec "$@"', "sh", paths.bin "tidegate", unpack(words) }
    return root:start(argv, { env = {
      DISCORD_TOKEN = "abc.def.ghi", INTENTS = 0, REST_URL = "http://127.0.0.1:1",
      TIDEGATE_CONTROL = "127.0.0.1:0", TIDEGATE_STATE_DIR = "/srv/state",
    } })
  end

  local function run(text, words)
    local started = start_in(text, words)
    started:wait(30000)
    return started
  end

  local function modules()
    local list = root:run { "sh", "-c", "ls -d /usr/lib/*/lua/5.1/cjson.so" }
    return list.stdout:match "^(/usr/lib/[^\n]+)\n$"
  end

  local function on_system(what, fn)
    it(what, function()
      if not root then
        pending("no overlay here: " .. why)
        return
      end
      fn()
    end)
  end

  local PACKAGE = "lua-cjson is not installed"
  local ADVICE = "(on Debian: apt-get install lua-cjson)"

  on_system("without it check and run say so, and scripts that do without it run", function()
    assert(uv.fs_unlink(root:path(modules())))
    local checked = run("", { "check", "bot.lua" })
    assert.equal(0, checked.exit_code, checked.stderr)
    assert.matches("tidegate check: warning: " .. PACKAGE, checked.stderr, 1, true)
    assert.matches(ADVICE, checked.stderr, 1, true)
    checked = run("", { "check", "--json", "bot.lua" })
    assert.matches('"warnings": [\n    "' .. PACKAGE, checked.stdout, 1, true)
    local gateway = start_in("", { "run", "bot.lua" })
    gateway:wait_for_output("warn  manager: " .. PACKAGE:gsub("%-", "%%-"), "stderr")
    gateway:kill "SIGTERM"
    gateway:wait()
  end)

  on_system("without it whoever requires it is told what to install", function()
    assert(uv.fs_unlink(root:path(modules())))
    local checked = run('require "cjson.safe"', { "check", "bot.lua" })
    assert.equal(1, checked.exit_code)
    assert.matches(PACKAGE .. " " .. ADVICE, checked.stderr, 1, true)
    local tested = run("", { "test", "." })
    assert.not_equal(0, tested.exit_code)
    assert.matches("lua-cjson " .. ADVICE, tested.stdout .. tested.stderr, 1, true)
  end)

  on_system("that of another processor, which is installed beside it, is not taken for it", function()
    assert(modules(), "there is one")
    root:run { "mkdir", "-p", "/usr/lib/aaa-linux-gnu/lua/5.1" }
    paths.write(root:path "/usr/lib/aaa-linux-gnu/lua/5.1/cjson.so", "of another processor")
    local checked = run('require "cjson"', { "check", "bot.lua" })
    assert.equal(0, checked.exit_code, checked.stderr)
    assert.is_nil(checked.stdout:find("aaa-linux-gnu", 1, true))
  end)
end)
