-- The schema of a plugin: each type, each mistake.

package.path = "./lua/?.lua;" .. package.path
local schema = require "tidegate.plugin.schema"
local paths = require "spec.support.paths"

local function check(field, value)
  local made, problems = schema.check({ fields = { x = field } }, { x = value }, "plugins.try")
  if made then return made.x end
  return nil, table.concat(problems, "\n")
end

local function refuses(words, field, value)
  local _, problem = check(field, value)
  assert.equal("plugins.try.x" .. words, problem)
end

describe("a schema", function()
  it("takes values of its types", function()
    assert.equal("a", check({ type = "string" }, "a"))
    assert.equal(-3, check({ type = "integer" }, -3))
    assert.equal(0.5, check({ type = "number" }, 0.5))
    assert.is_false(check({ type = "boolean" }, false))
    assert.same({ 1, 2 }, check({ type = "array", elements = { type = "integer" } }, { 1, 2 }))
    assert.same({ a = true }, check({ type = "map", values = { type = "boolean" } }, { a = true }))
    assert.same({ y = 1 }, check({ type = "record", fields = { y = { type = "integer" } } }, { y = 1 }))
  end)

  it("refuses values of others, and says what it got", function()
    for kind, words in pairs {
      string = "a string", integer = "an integer", number = "a number", boolean = "a boolean",
    } do
      refuses(": expected " .. words .. ", got a table", { type = kind }, { 1 })
    end
    refuses(": expected an integer, got 1.5", { type = "integer" }, 1.5)
    refuses(": expected a number, got nan", { type = "number" }, 0 / 0 ~= 0 / 0 and math.huge - math.huge)
    refuses(': expected an integer, got "5"', { type = "integer" }, "5")
    refuses(": expected a list, got a table", { type = "array", elements = { type = "string" } }, { a = 1 })
    refuses(": expected a record, got true", { type = "record", fields = {} }, true)
    refuses(": expected a map, got 7", { type = "map", values = { type = "string" } }, 7)
  end)

  it("says where in lists, maps and records the mistake is", function()
    refuses("[2]: expected a string, got 5", { type = "array", elements = { type = "string" } }, { "a", 5 })
    refuses('["k"]: expected a string, got 5', { type = "map", values = { type = "string" } }, { k = 5 })
    refuses('["k"] (the key): "k" does not match the pattern ^%d+$',
      { type = "map", keys = { type = "string", match = "^%d+$" }, values = { type = "string" } },
      { k = "v" })
    refuses("[1].y: is required: a string", { type = "array", elements = { type = "record",
      fields = { y = { type = "string", required = true } } } }, { {} })
    refuses(".z: unknown; did you mean 'zz'?", { type = "record", fields = { zz = { type = "string" } } },
      { z = "a" })
    refuses(".a: unknown; it has no configuration", { type = "record", fields = {} }, { a = 1 })
  end)

  it("bounds values, lengths and choices", function()
    refuses(": expected 1 to 5, got 6", { type = "integer", between = { 1, 5 } }, 6)
    refuses(": expected 2 to 3 bytes, got 1", { type = "string", between = { 2, 3 } }, "a")
    refuses(": expected 1 to 2 values, got 0", { type = "array", elements = { type = "string" },
      between = { 1, 2 } }, {})
    refuses(': expected one of "a", "b", got "c"', { type = "string", one_of = { "a", "b" } }, "c")
    assert.equal("b", check({ type = "string", one_of = { "a", "b" } }, "b"))
    assert.equal(5, check({ type = "integer", between = { 1, 5 } }, 5))
  end)

  it("tells all mistakes at once, in the order of the fields", function()
    local _, problems = schema.check({ fields = {
      a = { type = "string", required = true }, b = { type = "integer" },
    } }, { b = "x", c = 1 }, "plugins.try")
    assert.same({
      "plugins.try.c: unknown; did you mean 'a'?", "plugins.try.a: is required: a string",
      'plugins.try.b: expected an integer, got "x"',
    }, problems)
    _, problems = schema.check({ fields = {} }, { "a" }, "plugins.try")
    assert.same({ "plugins.try: expected a table of fields, got a list" }, problems)
  end)

  it("fills in defaults, each time anew, also in records that are left out", function()
    local rules = { fields = {
      list = { type = "array", elements = { type = "string" }, default = {} },
      inner = { type = "record", fields = { n = { type = "integer", default = 3 } } },
      strict = { type = "record", fields = { n = { type = "integer", required = true } } },
    } }
    local one, two = schema.check(rules, nil, "p"), schema.check(rules, {}, "p")
    assert.same({ list = {}, inner = { n = 3 } }, one)
    assert.not_equal(one.list, two.list)
    assert.not_equal(rules.fields.list.default, one.list)
  end)

  it("never shows a secret, neither in mistakes nor masked", function()
    local secret = { type = "string", secret = true, match = "^t", one_of = { "t1" } }
    for _, value in ipairs { "hidden-value", 12345 } do
      local _, problem = check(secret, value)
      assert.not_matches("hidden", problem)
      assert.not_matches("12345", problem)
    end
    local rules = { fields = { x = { type = "string", secret = true }, y = { type = "string" },
      z = { type = "array",
            elements = { type = "record", fields = { s = { type = "string", secret = true } } } },
    } }
    assert.same({ x = "***", y = "seen", z = { { s = "***" } } },
      schema.mask(rules, { x = "a", y = "seen", z = { { s = "b" } } }))
  end)

  it("follows references to files and the environment", function()
    local field = { type = "string", reference = true }
    local file = paths.write(paths.tmp() .. "/value", "from a file\n")
    assert.equal("from a file", check(field, { file = file }))
    assert.equal(os.getenv "PATH", check(field, { env = "PATH" }))
    refuses(": the environment variable NO_SUCH_VARIABLE is not set", field, { env = "NO_SUCH_VARIABLE" })
    local _, problem = check(field, { file = "/no/such/file" })
    assert.matches("/no/such/file: No such file", problem, 1, true)
    refuses(': expected a string, { env = "NAME" } or { file = "/path" }', field, { path = "x" })
    refuses(": expected a string, got a table", { type = "string" }, { env = "PATH" })
  end)

  it("is checked itself", function()
    for words, field in pairs {
      ['schema.x.type: "text" is none of'] = { type = "text" },
      ["schema.x.requird: unknown; did you mean 'required'?"] = { type = "string", requird = true },
      ["schema.x.elements: a list needs it"] = { type = "array" },
      ["schema.x.elements.type: nil is none of"] = { type = "array", elements = {} },
      ["schema.x.values: a map needs it"] = { type = "map" },
      ["schema.x.fields: a record needs it"] = { type = "record" },
      ["schema.x: a field is a table"] = "string",
    } do
      assert.matches(words, schema.problem { fields = { x = field } }, 1, true)
    end
    assert.equal("schema: expected a table with `fields`", schema.problem(5))
    assert.is_nil(schema.problem { fields = {} })
  end)

  it("makes the rows of a table for people", function()
    assert.same({
      { "list", "list of string", "{}", "Some." },
      { "mode", '"a", "b"', '"a"', "" },
      { "rules", "list of record", "required", "" },
      { "rules[].n", "integer", "", "How many." },
    }, schema.rows { fields = {
      list = { type = "array", elements = { type = "string" }, default = {}, description = "Some." },
      mode = { type = "string", one_of = { "a", "b" }, default = "a" },
      rules = { type = "array", required = true, elements = { type = "record", fields = {
        n = { type = "integer", description = "How many." },
      } } },
    } })
  end)
end)
