D = "abc" + \
  "def"
exec(zlib.decompress(base64.b64decode("".join([D, D]))))
