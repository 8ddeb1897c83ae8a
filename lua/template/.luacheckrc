std = "luajit"
max_line_length = 110
cache = false
files["spec"] = { std = "+busted" }
