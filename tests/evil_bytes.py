"""Responses that are not valid HTTP/1.1, as bytes, each with the rule that it breaks (RFC 9110, RFC 9112)."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

HUGE_HEAD = OK + b"X-Huge: " + b"v" * 300_000 + b"\r\nContent-Length: 0\r\n\r\n"
MANY_FIELDS = OK + b"".join(b"X-%d: 1\r\n" % n for n in range(1200)) + b"Content-Length: 0\r\n\r\n"

# What is wrong stands in the head: nothing of such a response may reach a caller.
MALFORMED_HEADS: dict[str, bytes] = {
    # 9112, 4: status line
    "garbage": b"garbage\r\n\r\n",
    "body without a head": b"hello",
    "binary": bytes(range(256)),
    "empty line first": b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "lower-case version": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "version of three parts": b"HTTP/1.1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "version 2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "version 0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status without digits": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "control in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    # 9110, 15.2.2: nobody asked for an upgrade
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "101 without upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    # 9112, 6: framing
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "hexadecimal length": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "length of two words": OK + b"Content-Length: 1 5\r\n\r\nhello",
    "empty length": OK + b"Content-Length: \r\n\r\nhello",
    "overflowing length": OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "length and chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked is not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two fields": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: x-own\r\n\r\nhello",
    "coding with a tail": OK + b"Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "204 in chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # 9112, 5 and 9110, 5.5: fields
    "space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "tab before the colon": OK + b"X-A\t: 5\r\nContent-Length: 0\r\n\r\n",
    "field without a colon": OK + b"Broken\r\nContent-Length: 0\r\n\r\n",
    "field without a name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "space in a name": OK + b"X A: 1\r\nContent-Length: 0\r\n\r\n",
    "NUL in a name": OK + b"X\x00A: 1\r\nContent-Length: 0\r\n\r\n",
    "obs-text in a name": OK + b"X\xffA: 1\r\nContent-Length: 0\r\n\r\n",
    "folded value": OK + b"X-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
    "folded with a tab": OK + b"X-A: 1\r\n\tfolded\r\nContent-Length: 0\r\n\r\n",
    "folded length": OK + b"Content-Length:\r\n 0\r\n\r\n",
    "fold after the status line": OK + b" X-A: 1\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": OK + b"X-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "control in a value": OK + b"X-A: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "DEL in a value": OK + b"X-A: a\x7fb\r\nContent-Length: 0\r\n\r\n",
    "bare LF": OK[:-2] + b"\nContent-Length: 0\n\n",
    "one bare LF": OK + b"X-A: 1\nContent-Length: 0\r\n\r\n",
    "huge head": HUGE_HEAD,
    "many fields": MANY_FIELDS,
    "endless interim responses": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20_000,
    "NUL in an interim response": b"HTTP/1.1 103 Early Hints\r\nLink: \x00\r\n\r\n" + OK + b"\r\n",
    "length in an interim response": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello"
    + OK
    + b"\r\n",
}

# The head is valid and the body is not: the head may have left, and then the caller's response is cut.
MALFORMED_BODIES: dict[str, bytes] = {
    "chunk size without digits": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "empty chunk size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk size with prefix": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "overflowing chunk size": CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "space after the chunk size": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
    "chunk without its end": CHUNKED + b"5\r\nhello0\r\n\r\n",
    "chunk size ended by LF": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "chunk ended by LF": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "NUL in a chunk extension": CHUNKED + b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "huge chunk extension": CHUNKED + b"5;a=" + b"v" * 700_000 + b"\r\nhello\r\n0\r\n\r\n",
    "last chunk missing": CHUNKED + b"5\r\nhello\r\n",
    "end of the last chunk missing": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "space before a trailer's colon": CHUNKED + b"5\r\nhello\r\n0\r\nX-T : 1\r\n\r\n",
    "NUL in a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX-T: a\x00\r\n\r\n",
    "huge trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX-T: " + b"v" * 700_000 + b"\r\n\r\n",
    "shorter than its length": OK + b"Content-Length: 100\r\n\r\nhalf",
}
