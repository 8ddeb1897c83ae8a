-- `tidegate test`: busted with the test kit. The kit's own specs are in spec/kit.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

after_each(process.cleanup)

local function test(words, options)
  local argv = { paths.bin "tidegate", "test" }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  options = options or {}
  options.timeout = 60000
  return process.run(argv, options)
end

it("passes the specs of the test kit", function()
  local run = test { "-o", "TAP", "spec/kit" }
  assert.equal(0, run.exit_code, run.stdout .. run.stderr)
  assert.is_true(select(2, run.stdout:gsub("\nok ", "")) > 30, run.stdout)
end)

describe("a spec", function()
  local function spec(text, words)
    local dir = paths.tmp()
    paths.write(dir .. "/bot_spec.lua", text)
    paths.write(dir .. "/bot.lua", 'require "tidegate".filter("TYPING_START", false)\n')
    words = words or {}
    words[#words + 1] = "."
    return test(words, { cwd = dir })
  end

  local DROPPED = [[
    it("drops", function()
      local kit = require "tidegate.test".load "bot.lua"
      assert.equal("%s", kit:event("TYPING_START").outcome)
    end)
  ]]

  it("that fails makes the command fail, and shows why", function()
    local run = spec(DROPPED:format "passed")
    assert.equal(1, run.exit_code)
    assert.matches("dropped", run.stdout, 1, true)
  end)

  it("that passes makes it pass", function()
    local run = spec(DROPPED:format "dropped")
    assert.equal(0, run.exit_code, run.stdout .. run.stderr)
    assert.matches("1 success", run.stdout, 1, true)
  end)

  it("is chosen by busted's options", function()
    local run = spec(DROPPED:format "passed", { "--filter=nothing like it" })
    assert.equal(0, run.exit_code, run.stdout .. run.stderr)
    assert.matches("0 successes", run.stdout, 1, true)
  end)

  it("leaves nothing of the script's log on standard error", function()
    local run = spec [[
      it("is quiet", function()
        require "tidegate.test".script "require 'tidegate'.log.error 'boo'":event "READY"
      end)
    ]]
    assert.equal(0, run.exit_code, run.stdout .. run.stderr)
    assert.equal("", run.stderr)
  end)
end)

it("the kit says where it belongs when somebody else asks for it", function()
  local path = paths.write(paths.tmp() .. "/bot.lua", 'require "tidegate.test"\n')
  local run = process.run({ paths.bin "tidegate", "check", path })
  assert.equal(1, run.exit_code)
  assert.matches("specs that `tidegate test` runs", run.stderr, 1, true)
end)
