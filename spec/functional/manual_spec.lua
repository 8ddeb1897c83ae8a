-- The manual pages, which the build makes from the help texts.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local function run(...)
  local p = process.run { ... }
  assert.equal(0, p.exit_code, p.stderr)
  return p
end

-- Text as one line of words: a page breaks its lines elsewhere than a terminal.
local function words(text)
  return (text:gsub("%s+", " "))
end

describe("the manual page of", function()
  local has_groff = process.run({ "sh", "-c", "command -v groff" }).exit_code == 0

  local function render(name)
    local path = paths.build .. "/" .. name .. ".1"
    local p = run("groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=200n", path)
    assert.equal("", p.stderr)
    return p.stdout
  end

  -- All lines of a help text but the first, without what a page has no place for.
  local function check(page, help)
    local count = 0
    for line in help:match("\n(.*)"):gmatch "[^\n]+" do
      line = words(line:gsub("^Signals: ", ""):gsub("^Exit codes: ", "")):gsub("^ ", "")
      assert.matches(line, page, 1, true)
      count = count + 1
    end
    assert.is_true(count > 2)
  end

  it("tidegate has what the help of all commands says", function()
    if not has_groff then
      return pending "groff is not installed"
    end
    local page = render "tidegate"
    local overview = run(paths.bin "tidegate", "help").stdout
    for _, title in ipairs { "NAME", "SYNOPSIS", "DESCRIPTION", "SIGNALS", "EXIT STATUS", "COMMANDS" } do
      assert.matches("\n" .. title .. "\n", "\n" .. page, 1, true)
    end
    page = words(page)
    assert.matches("tidegate %- " .. words(overview:match "^tidegate [%d.]+: ([^\n]+)"), page)
    check(page, overview)
    for command in overview:gmatch "\n  tidegate (%l+)" do
      local help = run(paths.bin "tidegate", "help", command).stdout
      if help ~= overview then
        assert.matches(help:match "^[^\n]+", page, 1, true)
        check(page, help)
      end
    end
  end)

  it("tidegate-fake-discord has what its help says", function()
    if not has_groff then
      return pending "groff is not installed"
    end
    check(words(render "tidegate-fake-discord"), run(paths.bin "tidegate-fake-discord", "--help").stdout)
  end)
end)
