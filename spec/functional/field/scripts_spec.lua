-- Reports of script authors: a small script, and what must be seen. `tidegate test` runs the rows, so that
-- they cost no gateway; busted starts it with this same file.
--
-- A row has a name and, in this order of events:
--   script      the text of a script, `gateway` is there already
--   refused     what its refusal says, if it is not to be loaded; the rest is not looked at then
--   event       { name, data } of a dispatch; `delivers` is d as the bot gets it, false: nothing
--   wait        so many ms pass
--   run, gives  Lua that is run inside of the script, and what it returns (errors by their words)
--   raises      or what it raises
--   asks        the body of the request that was made, the first or the one that is named by `which`
--   fields      those of the first line of the log
--   logs        parts of lines that have to be in the log; `silent`: of lines that must not be there

local LARGE, DEEP = "a number is too large (1.8e308 is the largest)", ("["):rep(257) .. ("]"):rep(257)

-- Text that gateway.json.decode refuses, what it says, and at which byte.
local NO_JSON = {
  { "1.", "a number lacks a digit", 3 },
  { ".5", "expected a value", 1 },
  { "-.5", "a number lacks a digit", 2 },
  { "[1.e5]", "a number lacks a digit", 4 },
  { "01", "a number begins with 0", 1 },
  { "-01", "a number begins with 0", 2 },
  { "+1", "expected a value", 1 },
  { "1e", "a number lacks a digit", 3 },
  { "1e+", "a number lacks a digit", 4 },
  { "1-2", "something stands behind the value", 2 },
  { "1.2.3", "something stands behind the value", 4 },
  { "0x10", "something stands behind the value", 2 },
  { "NaN", "expected a value", 1 },
  { "-Infinity", "a number lacks a digit", 2 },
  { " ", "the text ends too early", 2 },
  { "[1,]", "expected a value", 4 },
  { '{"a":1,}', "expected a key in an object", 8 },
  { "{'a':1}", "expected a key in an object", 2 },
  { "1 // one", "something stands behind the value", 3 },
  { "1 2", "something stands behind the value", 3 },
  { "tru", "expected a value", 1 },
  { '"a\nb"', "a control character in a string", 3 },
  { '"a\0b"', "a control character in a string", 3 },
  { '"\\x41"', "unknown escape in a string", 4 },
  { "\239\187\1911", "expected a value", 1 }, -- a byte order mark
  { DEEP, "nested too deeply", 257 },
  { "[1, 1e400]", LARGE, 5 },
  { "-1e400", LARGE, 1 },
  { ("9"):rep(400), LARGE, 1 },
}

-- Values, in Lua, and how they are written. Members of an object come in any order.
local WRITTEN = {
  { "{ 1e15, 12345678901.5, 1e300 }", "[1000000000000000,12345678901.5,1e+300]" },
  { "{ 2 ^ 53, -2 ^ 53 }", "[9007199254740992,-9007199254740992]" },
  { "{ [1e15] = 1, x = 2 }", '{"1000000000000000":1,"x":2}' },
  { "{ ['a\\0b'] = 1 }", '{"a\\u0000b":1}' },
  { "gateway.json.decode '[0,-0.5,1E3,1e-2,1.5e+2,-7,9007199254740992]'",
    "[0,-0.5,1000,0.01,150,-7,9007199254740992]" },
  { "gateway.json.decode('0.' .. ('3'):rep(100))", "0.3333333333333333" },
  { "gateway.json.decode(('['):rep(256) .. (']'):rep(256))", ("["):rep(256) .. ("]"):rep(256) },
  { [[gateway.json.decode '{"a":1,"a":2}']], '{"a":2}' },
  { [[gateway.json.decode '["\\ud83d","\\ude00","\\ud83d\\ude00","\\ud83dx"]']],
    '["\239\191\189","\239\191\189","😀","\239\191\189x"]' },
  { "{ data = {}, allowed_mentions = {}, resolved = {} }",
    '{"data":{},"allowed_mentions":{},"resolved":{}}' },
  { "{ resolved = { users = {}, roles = {}, channels = {}, x = { roles = {} } } }",
    '{"resolved":{"users":{},"roles":{},"channels":{},"x":{"roles":[]}}}' },
  { [[gateway.json.decode '{"tags":{},"data":[],"options":{}}']], '{"tags":{},"data":[],"options":{}}' },
  { "{ data = gateway.json.array(), tags = gateway.json.object {} }", '{"data":[],"tags":{}}' },
  { [[{ ["\255"] = "\255" }]], '{"\239\191\189":"\239\191\189"}' },
}
for name in ([[
  mentions mention_roles channels tags roles members threads emojis stickers features embeds fields
  attachments components options choices values activities buttons guild_ids user_ids sticker_ids parse
  users items applied_tags available_tags permission_overwrites recipients reactions entitlements
  contexts integration_types channel_types default_values answers voice_states presences ]]):gmatch "%S+" do
  WRITTEN[#WRITTEN + 1] = { ("{ %s = {} }"):format(name), ('{"%s":[]}'):format(name) }
end

-- Values, in Lua, that cannot be written, and what is said of them.
local UNWRITABLE = {
  { "{ embeds = { { title = 'a', fields = { { value = 0 / 0 } } } } }",
    "a number that is not a number (nan) at embeds[1].fields[1].value" },
  { "{ ['a b'] = { -math.huge } }", 'an infinite number at ["a b"][1]' },
  { "math.huge", "an infinite number" },
  { "{ a = { print } }", "a function at a[1]" },
  { "{ a = { 1, nil, 3 } }", "a list with holes (use gateway.json.null for them) at a" },
  { "(function() local t = {} t.t = t return t end)()", "nested too deeply, or contains itself, at t.t.t" },
  { "{ a = { [true] = 1 } }", "a key that is neither string nor number at a" },
  { "{ 1LL }", "a value of the ffi (a cdata) at [1]" },
}

local TORN_NAME = [[
  gateway.filter("X", function(event)
    local d = event.data
    d.author.name = d.author.name:sub(1, 6)
    return d
  end)
]]

local ROWS = {
  { "lists and objects that become empty keep their shape", run = [[
      local t = gateway.json.decode '{"tags":{"a":1},"data":[1]}'
      t.tags.a, t.data[1] = nil, nil
      return gateway.json.encode(t.tags), gateway.json.encode(t.data)]], gives = { "{}", "[]" } },
  { "an object that is filled like a list is a list", run = [[
      local t = gateway.json.decode '{}'
      t[1] = 7
      return gateway.json.encode(t)]], gives = { "[7]" } },
  { "the configuration may have empty lists", script = [[
      gateway.configure {
        intents = {}, rocks_trees = {}, event_handler = { urls = {} }, queue = { drop_first = {} },
      }]] },
  { "a filter may send empty lists", script = [[
      gateway.filter("X", function(event)
        local d = event.data
        d.mentions, d.tags = {}, {}
        return d
      end)]], event = { "X", { embeds = {} } }, delivers = { embeds = {}, mentions = {}, tags = {} } },
  { "a request says where it cannot be written",
    run = "return gateway.http.post('http://x/', { json = { n = 0 / 0 } })",
    raises = "a number that is not a number (nan) at n" },
  { "a command says where it cannot be written",
    run = "return gateway.manager:send_payload(0, { op = 3, d = { since = math.huge } })",
    raises = "argument 2 contains an infinite number at d.since" },

  { "a torn character of a filter goes out as U+FFFD, and the log says where it was torn",
    script = TORN_NAME, event = { "X", { author = { name = "Zoë 😀" } } },
    delivers = { author = { name = "Zoë \239\191\189" } },
    logs = { ":1: text that is not UTF-8, at author.name; it goes out with U+FFFD" } },
  { "also in JSON text that a filter returns",
    script = [[gateway.filter("X", function(event) return '{"a":"\255b"}' end)]], event = { "X", {} },
    delivers = { a = "\239\191\189b" }, logs = { ":1: text that is not UTF-8; it goes out with U+FFFD" } },
  { "also in a request",
    run = [[gateway.spawn(function() gateway.http.post("http://x/", { json = { "a\195" } }) end)]],
    asks = '["a\239\191\189"]', logs = { "kit:eval:1: text that is not UTF-8, at [1]" } },
  { "also in a command", script = [[
      gateway.on("X", function(event, shard) shard:send { op = 3, d = { status = "a\255" } } end)]],
    event = { "X", {} }, logs = { ":1: text that is not UTF-8, at d.status" } },
  { "also in a broadcast", run = [[gateway.broadcast("topic", { "\255" })]],
    logs = { "text that is not UTF-8, at [1]" } },
  { "it is said once a minute for each line",
    script = [[gateway.filter("X", function() return { "\255" } end)]], event = { "X", {} },
    run = [[for i = 1, 3 do gateway.json.encode "\255" end]], lines = 2,
    logs = { "text that is not UTF-8, at [1]", "kit:eval:1: text that is not UTF-8;" } },
  { "good text is left alone",
    script = [[gateway.filter("X", function(event) return event.data end)]],
    event = { "X", { a = "Zoë 😀 \127\194\128\239\191\191" } },
    delivers = { a = "Zoë 😀 \127\194\128\239\191\191" }, silent = { "UTF-8" } },
  { "a text is cut between characters", run = [[
      local text, cuts = "Zoë😀", {}
      for bytes = 2, 8 do cuts[#cuts + 1] = gateway.utf8.cut(text, bytes) end
      return table.concat(cuts, " "), gateway.utf8.cut(text, math.huge)]],
    gives = { "Zo Zo Zoë Zoë Zoë Zoë Zoë😀", "Zoë😀" } },
  { "what is cut is valid", run = [[
      local text = "Zoë"
      return gateway.utf8.valid(text), gateway.utf8.valid(text:sub(1, 3)),
        gateway.utf8.valid(gateway.utf8.cut(text, 3))]], gives = { true, false, true } },
  { "error { ... } at the top level shows its fields", script = 'error { code = "no token" }',
    refused = '{code = "no token"}\nstack traceback:\n\t[C]: in function \'error\'' },
  { "debug.traceback has no addresses, and its arguments as ever", run = [[
      local text = select(2, xpcall(function() table.sort({ 2, 1 }, function() error "no order" end) end,
        debug.traceback))
      local own = debug.traceback("words", 1):match "^words\nstack traceback:\n\t(%S+) in"
      local of = debug.traceback(coroutine.create(print), "of another")
      return text:find(": at 0x", 1, true), own, of, debug.traceback(7):match "^7\n", debug.traceback(true)]],
    gives = { nil, "kit:eval:3:", "of another\nstack traceback:", "7\n", true } },
  { "os.setlocale is refused, and asked", run = "return os.setlocale()", gives = { "C" } },
  { "os.setlocale cannot change the numbers in JSON", run = "return os.setlocale 'C.UTF-8'",
    raises = "os.setlocale would change how the whole process writes numbers" },

  { "a foreign resume of a handler that sleeps is refused", event = { "X", {} }, wait = 10, script = [[
      gateway.on("X", function()
        local co = coroutine.running()
        gateway.spawn(function() gateway.log.info("resume: %s %s", coroutine.resume(co, "stolen")) end)
        gateway.log.info("slept: %s", tostring(gateway.sleep(10)))
      end)]],
    logs = { "resume: false cannot resume a coroutine of the gateway's", "slept: true" } },
  { "a foreign resume of a coroutine that sleeps is refused", event = { "X", {} }, wait = 10, script = [[
      gateway.on("X", function()
        local co = coroutine.create(function() return gateway.sleep(10) end)
        gateway.spawn(function() gateway.log.info("resume: %s %s", coroutine.resume(co, "stolen")) end)
        gateway.log.info("slept: %s %s", coroutine.resume(co))
        gateway.log.info("then: %s %s", coroutine.resume(co))
      end)]],
    logs = {
      "resume: false cannot resume a coroutine that waits for the gateway", "slept: true true",
      "then: false cannot resume dead coroutine",
    } },
  { "so is a foreign call of a wrapped one, and of one that is further in", event = { "X", {} }, wait = 10,
    script = [[
      gateway.on("X", function()
        local inner = coroutine.create(function() return gateway.sleep(10) end)
        local outer = coroutine.wrap(function() return select(2, coroutine.resume(inner)) end)
        gateway.spawn(function()
          gateway.log.info("inner: %s %s", coroutine.resume(inner))
          gateway.log.info("outer: %s %s", pcall(outer, "stolen"))
        end)
        gateway.log.info("slept: %s", tostring(outer()))
      end)]],
    logs = {
      "inner: false cannot resume a coroutine that waits for the gateway",
      "outer: false cannot resume a coroutine that waits for the gateway", "slept: true",
    } },
  { "what is resumed by its own goes on as ever", run = [[
      local co = coroutine.wrap(function(a)
        local b = coroutine.yield(a + 1)
        gateway.sleep(5)
        return b * 2
      end)
      return co(1), co(10)]], gives = { 2, 20 } },

  { "the time of a request begins with its turn, also in the test kit", event = { "X", {} }, wait = 3000,
    script = [[
      gateway.on("X", function()
        for i = 1, 18 do
          gateway.spawn(function()
            local options = { timeout = 1000, queue_timeout = i == 18 and 500 or nil }
            local _, err = gateway.http.get("http://HOST:80/", options)
            gateway.log.info("%d: %s", i, tostring(err))
          end)
        end
      end)]],
    logs = {
      "16: no answer within 1000 ms", "17: no answer within 1000 ms",
      "18: http://host:80: the turn of a request did not come within 500 ms (queue_timeout): "
        .. "16 are under way, 2 wait",
    } },
  { "16 requests go to a host at a time, those to others do not wait for them", event = { "X", {} },
    script = [[
      gateway.on("X", function()
        for i = 1, 17 do gateway.spawn(gateway.http.get, i % 2 == 0 and "http://one/" or "HTTP://One/x") end
        gateway.spawn(gateway.http.post, "http://other/", { body = "to another" })
      end)]], asks = "to another", which = 17 },
  { "a NUL in a URL is refused", run = 'return gateway.http.get "http://x/\\0y"',
    raises = 'a NUL in "http://x/"' },
  { "a request can be signed", run = [[
      local c = gateway.crypto
      local function hex(...) return c.hex.encode(c.hmac(...)) end
      local fox = "The quick brown fox jumps over the lazy dog"
      return hex("sha256", "key", fox), hex("sha1", "key", fox), #c.hmac("sha384", "", ""),
        #c.hmac("sha512", "", ""), c.hex.encode(c.sha256 ""), c.base64.encode(c.hmac("sha256", "key", fox))]],
    gives = {
      "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
      "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9", 48, 64,
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg=",
    } },
  { "base64 is written and read", run = [[
      local c, all = gateway.crypto, {}
      for _, text in ipairs { "", "f", "fo", "foo", "foob", "\251\239\190\0" } do
        local plain, url = c.base64.encode(text), c.base64url.encode(text)
        assert(c.base64.decode(plain) == text and c.base64url.decode(url) == text, text)
        all[#all + 1] = plain .. " " .. url
      end
      return table.concat(all, " "), c.base64url.decode "Zg==", c.hex.decode "00fFa0" == "\0\255\160"]],
    gives = { "  Zg== Zg Zm8= Zm8 Zm9v Zm9v Zm9vYg== Zm9vYg ++++AA== ----AA", "f", true } },
  { "a key that is no base64 is nil, err", run = [[
      local c, all = gateway.crypto, {}
      for _, text in ipairs {
        "Z", "Zg", "Zg=", "Zg===", "=", "====", "Zm9v====", "Zm 9v", "Zm9v\n", "Zm-_", "Zm9v\0",
      } do
        local bytes, err = c.base64.decode(text)
        all[#all + 1] = bytes and "taken: " .. text or err.code .. tostring(err):match "byte (%d+)"
      end
      local _, url = c.base64url.decode "Zm+/"
      local _, hex = c.hex.decode "0g"
      local _, odd = c.hex.decode "123"
      return table.concat(all, " "):gsub("bad_base64", ""), tostring(url), tostring(hex), tostring(odd)]],
    gives = {
      "2 3 3 3 1 1 5 3 5 3 5", "not base64 for URLs from byte 3 on",
      "not pairs of hexadecimal digits from byte 1 on", "not pairs of hexadecimal digits from byte 3 on",
    } },
  { "a misspelt algorithm is refused", run = "return gateway.crypto.hmac('sha-256', 'k', '')",
    raises = "unknown algorithm 'sha-256'; did you mean 'sha256'?" },
  { "signatures are compared, and random bytes are others each time", run = [[
      local c = gateway.crypto
      return c.equal("abc", "abc"), c.equal("abc", "abd"), c.equal("abc", "ab"), c.equal("", ""),
        #c.random(0), #c.random(33), c.random(16) == c.random(16)]],
    gives = { true, false, false, true, 0, 33, false } },
  { "a misspelt name of gateway.crypto is refused", run = "return gateway.crypto.base64.encoed",
    raises = "gateway.crypto.base64 has no 'encoed'; did you mean 'encode'?" },
  { "gateway.now follows the time of the test", wait = 1500, script = [[
      local wall, monotonic = gateway.now()
      function gateway.state.passed()
        local later, then_ = gateway.now()
        return later - wall, then_ - monotonic, math.floor(later / 1000) == os.time()
      end]], run = "return gateway.state.passed()", gives = { 1500, 1500, true } },

  { "a line has the fields of the table behind its arguments", run = [[
      gateway.log.info("text", { user = "a b", n = 2 })
      gateway.log.info("shard %d of %s", 7, "x", { shard = 7, share = 0.25, new = true })
      gateway.log.info("100% done", { n = 2 ^ 53 })
      gateway.log.info("%s", setmetatable({}, { __tostring = function() return "own words" end }))
      gateway.log.info("as decoded", gateway.json.decode '{"a":"b","c":null}')]],
    logs = {
      'text n=2 user="a b"', "shard 7 of x new=true share=0.25", "100% done n=9007199254740992", "own words",
      "as decoded a=b",
    }, lines = 5, fields = { user = "a b", n = 2 } },
  { "a field with a wrong name is refused",
    run = "gateway.log.info('x', { ['two words'] = 1 })",
    raises = "gateway.log.info: the field 'two words' needs a name of lower-case letters, digits and _" },
  { "a field with a name of the line's is refused", run = "gateway.log.warn('x', { message = 'y' })",
    raises = "gateway.log.warn: the field 'message' is the gateway's own; take another name" },
  { "a field with the name of one of the gateway's keeps its type",
    run = "gateway.log.info('x', { code = 'y' })",
    raises = "the field 'code' is a number, as in the gateway's own lines, not a string" },
  { "a field that is a table is refused", run = "gateway.log.info('x', { a = {} })",
    raises = "the field 'a' is a table; fields are strings, numbers, true or false" },
  { "a list is refused as fields", run = "gateway.log.info('x', { 'a' })",
    raises = "the field '1' needs a name of lower-case letters, digits and _" },
  { "more than 12 fields are refused", run = [[
      local fields = {}
      for i = 1, 13 do fields["f" .. i] = i end
      gateway.log.info("x", fields)]], raises = "13 fields; 12 are the most" },
  { "a negative number of bytes is refused", run = [[return gateway.utf8.cut("a", -1)]],
    raises = "expected a number of bytes (0 or more)" },
}

-- What is raised, and how the log tells it.
local RAISED = {
  { '{ code = "E1", shard = 3, list = { 1, 2, x = true } }',
    '{code = "E1", list = {1, 2, x = true}, shard = 3}\nstack traceback:' },
  { '{ message = "no room", code = 7 }', "no room {code = 7}\nstack traceback:" },
  { '{ message = "no room" }', "no room\nstack traceback:" },
  { "{}", "(an error that is an empty table)\nstack traceback:" },
  { '{ a = { b = { c = { d = 1 } } }, f = print, n = gateway.json.null, s = "x\\n\\"y" }',
    '{a = {b = {c = {...}}}, f = function, n = null, s = "x\\n\\"y"}\nstack traceback:' },
  { "setmetatable({ code = 1 }, { __tostring = function() return 'by itself' end })",
    "by itself\nstack traceback:" },
  { "function() end", "(an error that is a function)\nstack traceback:" },
  { "select(2, gateway.json.decode '1.')", "not JSON: a number lacks a digit at byte 3\nstack traceback:" },
}
for _, case in ipairs(RAISED) do
  ROWS[#ROWS + 1] = {
    "error(" .. case[1] .. ") in a handler", keep_errors = true, event = { "X", {} }, logs = { case[2] },
    script = ('gateway.on("X", function() error(%s) end)'):format(case[1]),
  }
end
for where, script in pairs {
  ["a filter"] = 'gateway.filter("X", function() error { code = 7 } end)',
  ["an override"] = "function gateway.delivery:handle_discord_payload() error { code = 7 } end",
  ["a timer"] = 'gateway.on("X", function() gateway.after(5, function() error { code = 7 } end) end)',
  ["a coroutine"] = 'gateway.on("X", function() coroutine.wrap(function() error { code = 7 } end)() end)',
} do
  ROWS[#ROWS + 1] = {
    "error { code = 7 } in " .. where, keep_errors = true, event = { "X", {} }, wait = 5, script = script,
    logs = { "{code = 7}\nstack traceback:\n" },
  }
end

for _, case in ipairs(NO_JSON) do
  ROWS[#ROWS + 1] = {
    ("%q is no JSON"):format(case[1]:sub(1, 20)):gsub("[%c\128-\255]", "?") .. "",
    run = ("return gateway.json.decode(%q)"):format(case[1]),
    gives = { nil, ("not JSON: %s at byte %d"):format(case[2], case[3]) },
  }
end
for _, case in ipairs(WRITTEN) do
  ROWS[#ROWS + 1] = {
    "written: " .. case[1]:sub(1, 60), run = ("return gateway.json.encode(%s)"):format(case[1]),
    alike = case[2],
  }
end
for _, case in ipairs(UNWRITABLE) do
  ROWS[#ROWS + 1] = {
    "not written: " .. case[1], run = ("return gateway.json.encode(%s)"):format(case[1]),
    raises = case[2],
  }
end

local inside = pcall(require, "tidegate.test.host")
local test = inside and require "tidegate.test"

-- ---- inside of `tidegate test` ----

local function all_lines(kit)
  local lines = {}
  for _, line in ipairs(kit:log()) do lines[#lines + 1] = line.level .. " " .. line.text end
  return "the log:\n" .. table.concat(lines, "\n")
end

-- Members of an object come in any order.
local function sorted(text)
  local letters = {}
  for letter in text:gmatch "." do letters[#letters + 1] = letter end
  table.sort(letters)
  return table.concat(letters)
end

local function check_run(row, kit)
  local results = { pcall(kit.eval, kit, row.run) }
  if row.raises then
    assert.is_false(results[1])
    assert.matches(row.raises, tostring(results[2]), 1, true)
    return
  end
  assert(results[1], results[2])
  if row.alike then assert.equal(sorted(row.alike), sorted(results[2])) end
  for i = 1, #(row.gives or {}) do
    local got, expected = results[i + 1], row.gives[i]
    local meta = type(got) == "table" and getmetatable(got)
    if meta and meta.__tostring then got = tostring(got) end
    assert.same(expected, got)
  end
end

local function check(row)
  local text = 'local gateway = require "tidegate" ' .. (row.script or "")
  local options = { role = row.role, env = row.env, keep_errors = row.keep_errors }
  local loaded, kit = pcall(test.script, text, options)
  if row.refused then
    assert.is_false(loaded)
    assert.matches(row.refused, tostring(kit), 1, true)
    assert.is_nil(kit:find(": at 0x", 1, true), kit)
    return
  end
  assert(loaded, kit)
  if row.event then
    local result = kit:event(row.event[1], row.event[2])
    if row.delivers ~= nil then
      assert.same(row.delivers, result.body and result.body.message.d or false)
    end
  end
  if row.wait then kit:advance(row.wait) end
  if row.run then check_run(row, kit) end
  if row.asks then assert.equal(row.asks, kit:requests()[row.which or 1].body) end
  for _, part in ipairs(row.logs or {}) do
    assert(kit:log(part)[1], part .. " is not in " .. all_lines(kit))
  end
  assert(not kit:log(": at 0x")[1], all_lines(kit)) -- an address is another one in each run
  for _, part in ipairs(row.silent or {}) do
    assert(not kit:log(part)[1], part .. " is in " .. all_lines(kit))
  end
  if row.fields then assert.same(row.fields, kit:log()[1].fields) end
  if row.lines then assert.equal(row.lines, #kit:log(), all_lines(kit)) end
end

if inside then
  for _, row in ipairs(ROWS) do
    it(row[1], function() check(row) end)
  end
  return
end

-- ---- outside: each row's result is read from what that has said ----

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local outcome

local function run_rows()
  outcome = { said = {} }
  local file = debug.getinfo(1, "S").source:sub(2)
  local run = process.run({ paths.bin "tidegate", "test", "-o", "TAP", file }, { timeout = 60000 })
  local name
  for line in (run.stdout .. "\n" .. run.stderr):gmatch "[^\n]+" do
    local result, found = line:match "^(%l[%l ]*) %d+ %- (.*)$"
    if found then
      name = found
      outcome[name] = result
    elseif name then
      outcome.said[name] = (outcome.said[name] or "") .. line .. "\n"
    end
  end
  outcome.output = run.stdout .. run.stderr
end

setup(run_rows)
teardown(process.cleanup)

for _, row in ipairs(ROWS) do
  it(row[1], function()
    assert(outcome[row[1]] == "ok", outcome.said[row[1]] or outcome.output)
  end)
end
