-- The pages for people: README.md, the manuals that it leads to, and what their tables say.
--
--   pages.names()              paths of all of them, below the root
--   pages.read(name)           one page
--   pages.all()                all of them, one after the other
--   pages.section(heading)     what stands under a heading, up to the next of its level or above
--   pages.rows(pattern)        rows of all tables whose first heading cell matches: lists of cells

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local pages = {}

local names

function pages.names()
  if not names then
    names = {}
    local found = process.run {
      "find", paths.root, "-name", "*.md", "-not", "-path", "*/build*", "-not", "-path", "*/.git/*",
      "-not", "-path", "*/node_modules/*",
    }
    for name in found.stdout:gmatch "[^\n]+" do
      names[#names + 1] = name:sub(#paths.root + 2)
    end
    table.sort(names)
  end
  return names
end

function pages.read(name)
  return assert(paths.read(paths.root .. "/" .. name), name)
end

function pages.all()
  local texts = {}
  for i, name in ipairs(pages.names()) do
    texts[i] = pages.read(name)
  end
  return table.concat(texts, "\n")
end

function pages.section(heading)
  local all = "\n" .. pages.all() .. "\n# "
  local pattern = "\n(#+) " .. heading:gsub("%p", "%%%0") .. "\n()"
  local level, from = all:match(pattern)
  assert(level, "no page has the heading " .. heading)
  local to = #all
  for depth = 1, #level do
    to = math.min(to, all:find("\n" .. ("#"):rep(depth) .. " ", from, true) or to)
  end
  return all:sub(from, to)
end

function pages.rows(heading)
  local found, inside = {}, false
  for line in pages.all():gmatch "([^\n]*)\n" do
    local cells = {}
    for cell in line:gmatch "|%s*([^|]-)%s*%f[|]" do
      cells[#cells + 1] = cell
    end
    if not line:find "^|" then
      inside = false
    elseif inside and not cells[1]:find "^%-+$" then
      found[#found + 1] = cells
    elseif cells[1] and cells[1]:find(heading) then
      inside = true
    end
  end
  return found
end

return pages
