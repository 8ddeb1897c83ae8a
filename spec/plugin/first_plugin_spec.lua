-- "Your first plugin in ten minutes" is true: its blocks are run, one after the other, as a reader would.

local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

after_each(process.cleanup)

-- Its blocks: { kind = "sh" | "lua" | "text", text = ..., file = "spec/quiet_spec.lua" }. The file of one in
-- Lua is the last that was named before it.
local function blocks(page)
  local found, at = {}, 1
  for from, kind, text, to in page:gmatch "()```(%l+)\n(.-)\n```()" do
    local before, file = page:sub(at, from), nil
    for name in before:gmatch "`([%w_./-]+%.lua)`" do
      file = name
    end
    found[#found + 1] = { kind = kind, text = text, file = file }
    at = to
  end
  return found
end

it("the page of the first plugin is true, command by command", function()
  local dir, state = paths.tmp(), paths.tmp()
  local here, output = dir, ""
  local env = {
    PATH = paths.build .. ":" .. os.getenv "PATH", TIDEGATE_STATE_DIR = state, DISCORD_TOKEN = "abc.def.ghi",
  }
  local does = {}
  function does.sh(block)
    local command = ("set -e\n%s\npwd >%s/here\n"):format(block.text, dir)
    local run = process.run({ "sh", "-c", command }, { cwd = here, env = env, timeout = 60000 * paths.slow })
    output = (run.stdout .. run.stderr):gsub("\27%[%d*m", "") -- luacheck's colours
    assert.equal(0, run.exit_code, block.text .. "\n" .. output)
    here = paths.read(dir .. "/here"):match "[^\n]+"
  end
  function does.lua(block)
    assert(block.file, "no file is named before\n" .. block.text)
    paths.write(here .. "/" .. block.file, block.text .. "\n")
  end
  function does.text(block)
    for line in block.text:gmatch "[^\n]+" do
      assert.matches(line, output, 1, true)
    end
  end
  local counts = {}
  for _, block in ipairs(blocks(pages.section "Your first plugin in ten minutes")) do
    assert(does[block.kind], block.kind)(block)
    counts[block.kind] = (counts[block.kind] or 0) + 1
  end
  assert.is_true(counts.sh >= 4 and counts.lua >= 4 and counts.text >= 4)
end)
