-- The end of the script.
return cjson.encode(calls[ARGV[1]]())
