-- scripts/bench: what it writes for others to read. Its figures are nobody's business here.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

after_each(process.cleanup)

local function bench(...)
  return process.run({ "scripts/bench", ... },
    { env = { TG_BUILD = paths.build }, cwd = paths.root, timeout = 120000 * paths.slow })
end

it("a page of figures names the machine, the versions, and how to measure them again", function()
  local page_file = paths.build .. "/figures.md"
  os.remove(page_file)
  local run = bench("--quick", "--report", "memory")
  assert.equal(0, run.exit_code, run.stderr)
  local page = assert(paths.read(page_file))
  assert.matches("^# Figures of Tidegate\n", page)
  assert.matches("by `scripts/bench %-%-quick %-%-report memory`", page)
  for _, name in ipairs { "Processor", "Kernel", "Tidegate", "luajit", "libwebsockets", "libcurl", "zlib" } do
    assert.matches("\n| " .. name .. " | [^\n]+ |\n", page)
  end
  assert.matches("\n## Memory\n\n```\n(.*)\n```\n", page)
  local printed = run.stdout:match "(.- KB a shard[^\n]*\n)"
  assert.truthy(page:find("```\n" .. printed, 1, true), "the page has other figures than the terminal")
  assert.is_nil(page:find(paths.root, 1, true))
end)

it("what cannot be measured is refused", function()
  local run = bench "lateness"
  assert.equal(64, run.exit_code)
  assert.matches("there is no lateness", run.stderr)
end)
