-- The manual pages, which the build makes from the help texts.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

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
    for command in run(paths.bin "tidegate", "ctl", "--help").stdout:gmatch "\n  (%l[%l-]+) " do
      local help = run(paths.bin "tidegate", "ctl", command, "--help").stdout
      assert.matches(help:match "^[^\n]+", page, 1, true)
      check(page, help)
    end
    for _, topic in ipairs { "environment", "files" } do
      assert.matches("|" .. topic, overview, 1, true)
      assert.matches(" " .. topic:upper() .. " ", page, 1, true)
      check(page, run(paths.bin "tidegate", "help", topic).stdout)
    end
  end)

  it("tidegate-fake-discord has what its help says", function()
    if not has_groff then
      return pending "groff is not installed"
    end
    check(words(render "tidegate-fake-discord"), run(paths.bin "tidegate-fake-discord", "--help").stdout)
  end)
end)

describe("the page of", function()
  after_each(scene.stop)

  it("files names all that a gateway leaves in its state directory", function()
    local s = scene.start { bot = {} }
    s.bot:answer(function() return 400 end)
    s.fake:emit { count = 1 }
    s.gateway:wait_for_log "is in dead%.jsonl"
    s.gateway:stop()
    local page = run(paths.bin "tidegate", "help", "files").stdout
    local count = 0
    local directory = assert(uv.fs_scandir(s.gateway.state_dir))
    for name in uv.fs_scandir_next, directory do
      assert.matches("STATE_DIR/" .. name, page, 1, true)
      count = count + 1
    end
    assert.is_true(count >= 5, tostring(count))
  end)

  it("the environment names what the gateway asks for", function()
    local page = run(paths.bin "tidegate", "help", "environment").stdout
    for variable in paths.read(paths.root .. "/src/config/config_options.c"):gmatch '%.env = "([%u_]+)"' do
      assert.matches("\n  " .. variable .. " ", page, 1, true)
    end
  end)
end)
