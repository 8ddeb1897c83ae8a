-- scripts/style finds what it is there to find.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

-- A house with the given files and scripts/style in it; returns the gates that refuse it.
local function refused_by(files)
  local dir = paths.tmp()
  files["scripts/style"] = paths.read(paths.root .. "/scripts/style")
  files["CMakeLists.txt"] = paths.read(paths.root .. "/CMakeLists.txt") -- has the order of the folders
  for name, text in pairs(files) do
    local folder = dir
    for part in name:gmatch "([^/]+)/" do
      folder = folder .. "/" .. part
      uv.fs_mkdir(folder, 493)
    end
    paths.write(dir .. "/" .. name, text)
  end
  local p = process.run({ "bash", dir .. "/scripts/style" }, { cwd = dir })
  local gates = {}
  for gate in p.stdout:gmatch "not ok %d+ %- ([^\n]*)" do
    gates[#gates + 1] = gate
  end
  assert.equal(#gates > 0 and 1 or 0, p.exit_code, p.stdout .. p.stderr)
  assert.matches("1%.%.%d+\n$", p.stdout)
  return table.concat(gates, "; "), p.stdout
end

local function lines(n, line)
  return (line .. "\n"):rep(n)
end

it("lets a tidy house pass", function()
  assert.equal("", (refused_by {
    ["README.md"] = "# Name\n",
    ["src/base/a.h"] = "#pragma once\n",
    ["src/shard/a.c"] = '#include "base/a.h"\n#include <stdio.h>\n',
    ["src/script/a.c"] = "#include <lua.h>\n",
    ["spec/unit/shard/a_test.c"] = '#include "shard/a.h"\nint f(void)\n{\n' .. lines(70, "  f();") .. "}\n",
  }))
end)

local function breaks(gate, files)
  it("refuses when broken: " .. gate, function()
    local gates, output = refused_by(files)
    assert.equal(gate, gates)
    for name in pairs(files) do
      if name ~= "scripts/style" and name ~= "CMakeLists.txt" then
        assert.matches(name:match "^[^/]+/?[^/]*", output, 1, true)
      end
    end
  end)
end

breaks("files have at most 600 lines", { ["src/base/a.c"] = lines(601, "int a;") })
breaks("functions have at most 80 lines", {
  ["src/base/a.c"] = "int g(void)\n{\n  return 1;\n}\n\nint f(void)\n{\n" .. lines(80, "  g();") .. "}\n",
})
breaks("lines of C have at most 110 columns", { ["src/base/a.c"] = "// " .. ("x"):rep(110) .. "\n" })
breaks("only src/script/ includes Lua headers", { ["src/worker/a.c"] = "#include <lauxlib.h>\n" })
breaks("folders include only what stands below them", {
  ["src/shard/a.c"] = '#include "delivery/a.h"\n',
  ["src/delivery/lanes/a.c"] = '#include "worker/a.h"\n',
  ["src/fake_discord/wire/b.c"] = '#include "shard/a.h"\n',
  ["spec/unit/base/c_test.c"] = '#include "proto/a.h"\n',
  ["spec/unit/net/d_test.c"] = '#include "unit/shard/fixture.h"\n',
})
breaks("nothing is marked as unfinished", { ["lua/tidegate/a.lua"] = "-- TO" .. "DO: more\n" })
breaks("comments give reasons, not pages that are not here",
  { ["src/base/a.c"] = "/* Waits (refer" .. "ence, 3.1). */\nint a;\n" })
breaks("specs do not sleep", { ["spec/lua/a_spec.lua"] = "uv" .. ".sleep(100)\n" })
breaks("specs do not sleep", { ["spec/unit/base/a_test.c"] = "void f(void)\n{\n  us" .. "leep(5);\n}\n" })
breaks("no spec is singled out", { ["spec/lua/a_spec.lua"] = 'it("works #on' .. 'ly", function() end)\n' })
breaks("no white space at the ends of lines", { ["README.md"] = "# Name \n" })
breaks("files end with a newline", { ["README.md"] = "# Name" })
breaks("headers begin with #pragma once", { ["src/base/a.h"] = "int a;\n" })
-- So many files below src/base, in `folder` and below it.
local function files_of(count, folder)
  local files = {}
  for i = 1, count do
    files[("src/base/%s%d.c"):format(folder, i)] = "int a;\n"
  end
  return files
end

breaks("folders of more than eight files have a page", files_of(9, ""))
breaks("folders of more than eight files have a page", files_of(9, "deep/"))

it("wants no page of small folders, nor where there is one", function()
  local files = files_of(9, "")
  files["src/base/README.md"] = "# base\n"
  for name, text in pairs(files_of(8, "deep/")) do
    files[name] = text
  end
  assert.equal("", (refused_by(files)))
end)

breaks("the top level has only what belongs there", { ["notes.txt"] = "x\n" })
