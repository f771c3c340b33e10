"""Requests byte by byte: what is sent, which statuses come back, what the teacher sees, and whether the connection
goes on. Names and sections follow RFC 9110 and RFC 9112; many are those of the Http11Probe checklist.
"""

from dataclasses import dataclass

HOST = b"Host: a\r\n"
END = b"\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    section: str
    sent: bytes
    statuses: tuple[int, ...]
    seen: int  # how many requests reach the teacher
    keeps: bool  # the connection serves another request afterwards
    bodiless: bool = False  # the responses have no body, whatever their fields say


def get(*fields: bytes, target: bytes = b"/x", method: bytes = b"GET", host: bytes = HOST) -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + host + b"".join(f + END for f in fields) + END


def post(*fields: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    return get(*fields, method=method) + body


def chunked(body: bytes, *fields: bytes, coding: bytes = b"Transfer-Encoding: chunked") -> bytes:
    return post(coding, *fields, body=body)


def line(content: bytes) -> bytes:
    return content + END + HOST + END


def passed(id: str, section: str, sent: bytes, keeps: bool = True, **more: bool) -> Case:
    return Case(id, section, sent, (200,), 1, keeps, **more)


def refused(id: str, section: str, sent: bytes, status: int = 400) -> Case:
    return Case(id, section, sent, (status,), 0, False)


REQUEST_LINE = [
    passed("origin form", "9112-3.2.1", get()),
    passed("root", "9112-3.2.1", get(target=b"/")),
    passed("empty query", "9112-3.2.1", get(target=b"/x?")),
    passed("query of marks", "9112-3.2.1", get(target=b"/x???")),
    passed("encoded slash", "9110-7.7", get(target=b"/a%2Fb%2f")),
    passed("encoded NUL", "9110-7.7", get(target=b"/a%00b")),
    passed("invalid percent", "9110-7.7", get(target=b"/%zz%")),
    passed("dot segments", "9110-7.7", get(target=b"/a/../../b/./c")),
    passed("double slashes", "9110-7.7", get(target=b"//a//b")),
    passed("brackets and braces", "9110-7.7", get(target=b'/x?[a]={b}|^`\\"<>')),
    passed("line of 8192 bytes", "9110-4.1", get(target=b"/" + b"x" * (8192 - 14))),
    refused("line of 8193 bytes", "9110-4.1", get(target=b"/" + b"x" * (8193 - 14)), 414),
    refused("line without end", "9112-3", b"GET /" + b"x" * 9000, 414),
    refused("no version", "9112-3", line(b"GET /x")),
    refused("HTTP/0.9", "9112-3", b"GET /x\r\n"),
    refused("HTTP/0.9 with version", "9110-2.5", line(b"GET /x HTTP/0.9"), 505),
    refused("HTTP/1.2", "9110-2.5", line(b"GET /x HTTP/1.2"), 505),
    refused("HTTP/2.0", "9110-2.5", line(b"GET /x HTTP/2.0"), 505),
    refused("HTTP/2 preface", "9113-3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    refused("HTTP/3.0", "9110-2.5", line(b"GET /x HTTP/3.0"), 505),
    refused("HTTP/11", "9112-2.3", line(b"GET /x HTTP/11")),
    refused("HTTP/1", "9112-2.3", line(b"GET /x HTTP/1")),
    refused("HTTP/1.", "9112-2.3", line(b"GET /x HTTP/1.")),
    refused("HTTP/01.1", "9112-2.3", line(b"GET /x HTTP/01.1")),
    refused("HTTP/1.10", "9112-2.3", line(b"GET /x HTTP/1.10")),
    refused("HTTP/1,1", "9112-2.3", line(b"GET /x HTTP/1,1")),
    refused("http/1.1", "9112-2.3", line(b"GET /x http/1.1")),
    refused("HTTPS/1.1", "9112-2.3", line(b"GET /x HTTPS/1.1")),
    refused("HTTP 1.1", "9112-2.3", line(b"GET /x HTTP 1.1")),
    refused("space after version", "9112-3", line(b"GET /x HTTP/1.1 ")),
    refused("two spaces before target", "9112-3", line(b"GET  /x HTTP/1.1")),
    refused("two spaces before version", "9112-3", line(b"GET /x  HTTP/1.1")),
    refused("tab for a space", "9112-3", line(b"GET\t/x HTTP/1.1")),
    refused("tab before version", "9112-3", line(b"GET /x\tHTTP/1.1")),
    refused("space in front", "9112-3", line(b" GET /x HTTP/1.1")),
    refused("space in target", "9112-3.2", line(b"GET /x y HTTP/1.1")),
    refused("no target", "9112-3", line(b"GET HTTP/1.1")),
    refused("empty target", "9112-3", line(b"GET  HTTP/1.1")),
    refused("fragment", "9112-3.2.1", get(target=b"/x#y")),
    refused("relative target", "9112-3.2.1", get(target=b"x")),
    refused("query without path", "9112-3.2.1", get(target=b"?x=1")),
    refused("byte above 127 in target", "9112-3.2", get(target=b"/\xc3\xa4")),
    refused("control in target", "9112-3.2", get(target=b"/\x01")),
    refused("DEL in target", "9112-3.2", get(target=b"/\x7f")),
    refused("NUL in target", "9112-3.2", get(target=b"/\x00")),
    refused("bare CR in line", "9112-2.2", line(b"GET /x\r HTTP/1.1")),
    refused("bare LF in line", "9112-2.2", line(b"GET /x\n HTTP/1.1")),
    refused("only a request line with LF", "9112-2.2", b"GET /x HTTP/1.1\nHost: a\n\n"),
    refused("LF after line", "9112-2.2", b"GET /x HTTP/1.1\nHost: a\r\n\r\n"),
    refused("CR CR LF after line", "9112-2.2", b"GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    refused("TLS hello", "9112-3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    refused("garbage", "9112-3", b"\x00\x01\x02\x03\r\n\r\n"),
    refused("words", "9112-3", b"hello gateway\r\n\r\n"),
    refused("BOM in front", "9112-3", b"\xef\xbb\xbf" + get()),
]

METHODS = [
    *(
        passed(method, "9110-9.1", get(method=method.encode()))
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "VERSION-CONTROL")
    ),
    passed("HEAD", "9110-9.3.2", get(method=b"HEAD"), bodiless=True),
    passed("HEAD of a chunked reply", "9110-9.3.2", get(method=b"HEAD", target=b"/chunked"), bodiless=True),
    refused("TRACE", "9110-9.3.8", get(method=b"TRACE"), 405),
    refused("CONNECT", "9110-9.3.6", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    refused("CONNECT with a path", "9112-3.2.3", get(method=b"CONNECT"), 405),
    refused(
        "CONNECT with a tunnel behind", "9110-9.3.6", b"CONNECT a:1 HTTP/1.1\r\n" + HOST + END + get(), 405
    ),
    refused("method in small letters", "9110-9.1", get(method=b"get"), 501),
    refused("method of 33 letters", "9110-9.1", get(method=b"G" * 33), 501),
    refused("method with a brace", "9110-9.1", get(method=b"G{T")),
    refused("method with a colon", "9110-9.1", get(method=b"GET:")),
    refused("method above 127", "9110-9.1", get(method=b"G\xc9T")),
    refused("no method", "9112-3", line(b"/x HTTP/1.1")),
]

TARGETS = [
    passed("absolute form", "9112-3.2.2", get(target=b"http://other.example/x?y=1")),
    passed("absolute form of https", "9112-3.2.2", get(target=b"https://other.example/x")),
    passed("absolute form in capitals", "9112-3.2.2", get(target=b"HTTP://other.example/x")),
    passed("absolute form with a port", "9112-3.2.2", get(target=b"http://other.example:8080/x")),
    passed("absolute form without path", "9112-3.2.2", get(target=b"http://other.example")),
    passed("absolute form with query alone", "9112-3.2.2", get(target=b"http://other.example?x=1")),
    passed("absolute form of an IPv6 host", "9112-3.2.2", get(target=b"http://[::1]:80/x")),
    passed("OPTIONS *", "9112-3.2.4", get(method=b"OPTIONS", target=b"*")),
    passed("OPTIONS of a host", "9112-3.2.4", get(method=b"OPTIONS", target=b"http://other.example")),
    Case(
        "OPTIONS with Max-Forwards 0",
        "9110-7.6.2",
        get(b"Max-Forwards: 0", method=b"OPTIONS"),
        (200,),
        0,
        True,
    ),
    passed("OPTIONS with Max-Forwards 1", "9110-7.6.2", get(b"Max-Forwards: 1", method=b"OPTIONS")),
    refused("absolute form without Host", "9112-3.2", get(target=b"http://other.example/x", host=b"")),
    refused("absolute form with user", "9110-4.2.4", get(target=b"http://u:p@other.example/x")),
    refused("absolute form of no host", "9110-4.2.1", get(target=b"http:///x")),
    refused("absolute form of ftp", "9112-3.2.2", get(target=b"ftp://other.example/x")),
    refused("absolute form of one slash", "9112-3.2.2", get(target=b"http:/other.example/x")),
    refused("authority form of GET", "9112-3.2.3", get(target=b"other.example:80")),
    refused("GET *", "9112-3.2.4", get(target=b"*")),
    refused("OPTIONS of two asterisks", "9112-3.2.4", get(method=b"OPTIONS", target=b"**")),
]

HOSTS = [
    passed("host with port", "9110-7.2", get(host=b"Host: a:80\r\n")),
    passed("host with empty port", "9110-4.2.3", get(host=b"Host: a:\r\n")),
    passed("host as IPv4", "9110-7.2", get(host=b"Host: 127.0.0.1:80\r\n")),
    passed("host as IPv6", "9110-7.2", get(host=b"Host: [2001:db8::1]:80\r\n")),
    passed("host in capitals", "9110-7.2", get(host=b"HOST: A.EXAMPLE\r\n")),
    passed("host with underscore", "9110-7.2", get(host=b"Host: a_b\r\n")),
    passed("space around host", "9112-5.1", get(host=b"Host: \t a \t\r\n")),
    passed("no space before host", "9112-5.1", get(host=b"Host:a\r\n")),
    refused("no host", "9112-3.2", get(host=b"")),
    refused("empty host", "9112-3.2", get(host=b"Host:\r\n")),
    refused("two hosts", "9112-3.2", get(host=HOST + b"Host: b\r\n")),
    refused("two equal hosts", "9112-3.2", get(host=HOST + HOST)),
    refused("two hosts in two spellings", "9112-3.2", get(host=HOST + b"hOST: b\r\n")),
    refused("host with path", "9110-7.2", get(host=b"Host: a/b\r\n")),
    refused("host with user", "9110-7.2", get(host=b"Host: u@a\r\n")),
    refused("host list", "9110-7.2", get(host=b"Host: a, b\r\n")),
    refused("host with space", "9110-7.2", get(host=b"Host: a b\r\n")),
    refused("host with scheme", "9110-7.2", get(host=b"Host: http://a\r\n")),
    refused("host with query", "9110-7.2", get(host=b"Host: a?b\r\n")),
    refused("host with fragment", "9110-7.2", get(host=b"Host: a#b\r\n")),
    refused("host with a port of letters", "9110-7.2", get(host=b"Host: a:x\r\n")),
    refused("host with a port of six digits", "9110-7.2", get(host=b"Host: a:123456\r\n")),
    refused("host with two ports", "9110-7.2", get(host=b"Host: a:1:2\r\n")),
    refused("host with an open bracket", "9110-7.2", get(host=b"Host: [::1\r\n")),
    refused("host in percent", "9110-7.2", get(host=b"Host: a%2Fb\r\n")),
    refused("host above 127", "9110-7.2", get(host=b"Host: \xc3\xa4\r\n")),
    refused("host folded", "9112-5.2", get(host=b"Host:\r\n a\r\n")),
]

FIELDS = [
    passed("many equal fields", "9110-5.3", get(b"X: 1", b"X: 2", b"X: 3")),
    passed("empty value", "9110-5.5", get(b"X:")),
    passed("value of spaces", "9110-5.5", get(b"X:  \t ")),
    passed("value with tabs", "9110-5.5", get(b"X: a\tb")),
    passed("value with colons", "9110-5.5", get(b"X: a:b:c")),
    passed("value above 127", "9110-5.5", get(b"X: \xc3\xa4")),
    passed("every token character", "9110-5.1", get(b"!#$%&'*+-.^_`|~09aZ: 1")),
    passed("names in mixed case", "9110-5.1", get(b"aCCept: */*")),
    passed("underscore beside hyphen", "9110-5.1", get(b"X-A: 1", b"X_A: 2")),
    passed("100 fields", "6585-5", get(*(b"X-%d: 1" % n for n in range(99)))),
    passed("fields of 32768 bytes", "6585-5", get(b"X: " + b"v" * (32768 - 14))),
    refused("101 fields", "6585-5", get(*(b"X-%d: 1" % n for n in range(100))), 431),
    refused("fields of 32769 bytes", "6585-5", get(b"X: " + b"v" * (32769 - 14)), 431),
    refused("field without end", "6585-5", b"GET /x HTTP/1.1\r\n" + HOST + b"X: " + b"v" * 40_000, 431),
    refused("1000 fields", "6585-5", get(*(b"X-%d: 1" % n for n in range(1000))), 431),
    refused("space before colon", "9112-5.1", get(b"X : 1")),
    refused("tab before colon", "9112-5.1", get(b"X\t: 1")),
    refused("length with space before colon", "9112-5.1", post(b"Content-Length : 2", body=b"{}")),
    refused(
        "coding with space before colon",
        "9112-5.1",
        chunked(b"0\r\n\r\n", coding=b"Transfer-Encoding : chunked"),
    ),
    refused("no colon", "9112-5", get(b"X")),
    refused("no name", "9112-5", get(b": 1")),
    refused("space in name", "9110-5.1", get(b"X Y: 1")),
    refused("space before first field", "9112-2.2", b"GET /x HTTP/1.1\r\n " + HOST + END),
    refused("folded line", "9112-5.2", get(b"X: 1\r\n 2")),
    refused("folded line with tab", "9112-5.2", get(b"X: 1\r\n\t2")),
    refused("folded into the end", "9112-5.2", get(b"X: 1\r\n ")),
    refused("folded coding", "9112-5.2", chunked(b"0\r\n\r\n", coding=b"Transfer-Encoding:\r\n chunked")),
    refused("NUL in value", "9110-5.5", get(b"X: a\x00b")),
    refused("NUL in name", "9110-5.1", get(b"X\x00: b")),
    refused("CR in value", "9110-5.5", get(b"X: a\rb")),
    refused("LF in value", "9110-5.5", get(b"X: a\nb")),
    refused("LF smuggles a field", "9112-2.2", get(b"X: a\nTransfer-Encoding: chunked")),
    refused("CR smuggles a field", "9112-2.2", get(b"X: a\rTransfer-Encoding: chunked")),
    refused("LF LF ends the head", "9112-2.2", b"GET /x HTTP/1.1\r\nHost: a\n\n"),
    refused("CR LF LF ends the head", "9112-2.2", b"GET /x HTTP/1.1\r\nHost: a\r\n\n"),
    refused("BEL in value", "9110-5.5", get(b"X: \x07")),
    refused("VT in value", "9110-5.5", get(b"X: a\x0bb")),
    refused("DEL in value", "9110-5.5", get(b"X: \x7f")),
    refused("name above 127", "9110-5.1", get(b"X\xe4: 1")),
    refused("name with a bracket", "9110-5.1", get(b"X[]: 1")),
    refused("name with a slash", "9110-5.1", get(b"X/Y: 1")),
    refused("name with quotes", "9110-5.1", get(b'"X": 1')),
]

LENGTHS = [
    passed("no body", "9112-6.3", post()),
    passed("length 0", "9112-6.3", post(b"Content-Length: 0")),
    passed("length 2", "9112-6.3", post(b"Content-Length: 2", body=b"{}")),
    passed("length with zeros", "9110-8.6", post(b"Content-Length: 0002", body=b"{}")),
    passed("GET with body", "9110-9.3.1", post(b"Content-Length: 2", body=b"{}", method=b"GET")),
    passed("DELETE with body", "9110-9.3.5", post(b"Content-Length: 2", body=b"{}", method=b"DELETE")),
    passed(
        "body that looks like a request", "9112-6.3", post(b"Content-Length: 35", body=get(b"X-Smug: 1")[:35])
    ),
    refused("two lengths", "9112-6.3", post(b"Content-Length: 2", b"Content-Length: 3", body=b"{}")),
    refused("two equal lengths", "9112-6.3", post(b"Content-Length: 2", b"Content-Length: 2", body=b"{}")),
    refused("length list", "9112-6.3", post(b"Content-Length: 2, 2", body=b"{}")),
    refused("length list that differs", "9112-6.3", post(b"Content-Length: 2, 3", body=b"{}")),
    refused("length with plus", "9110-8.6", post(b"Content-Length: +2", body=b"{}")),
    refused("length with minus", "9110-8.6", post(b"Content-Length: -2", body=b"{}")),
    refused("length in hexadecimal", "9110-8.6", post(b"Content-Length: 0x2", body=b"{}")),
    refused("length with underscore", "9110-8.6", post(b"Content-Length: 1_0", body=b"{}")),
    refused("length with point", "9110-8.6", post(b"Content-Length: 2.0", body=b"{}")),
    refused("length with space inside", "9110-8.6", post(b"Content-Length: 1 0", body=b"{}")),
    refused("length in words", "9110-8.6", post(b"Content-Length: two", body=b"{}")),
    refused("empty length", "9110-8.6", post(b"Content-Length:", body=b"{}")),
    refused("length of 19 digits", "9110-8.6", post(b"Content-Length: 9999999999999999999")),
    refused("length of 5000 digits", "9110-8.6", post(b"Content-Length: " + b"9" * 5000)),
    refused("length in other digits", "9110-8.6", post("Content-Length: \u0662".encode(), body=b"{}")),
    refused("length with form feed", "9110-8.6", post(b"Content-Length: \x0c2", body=b"{}")),
    refused("length above the limit", "9110-15.5.14", post(b"Content-Length: 10485761"), 413),
]

CODINGS = [
    passed("one chunk", "9112-7.1", chunked(b"2\r\n{}\r\n0\r\n\r\n")),
    passed("two chunks", "9112-7.1", chunked(b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")),
    passed("no chunk", "9112-7.1", chunked(b"0\r\n\r\n")),
    passed("size with zeros", "9112-7.1", chunked(b"0002\r\n{}\r\n000\r\n\r\n")),
    passed("size in capitals", "9112-7.1", chunked(b"A\r\n0123456789\r\n0\r\n\r\n")),
    passed("chunk that holds CRLF", "9112-7.1", chunked(b"5\r\n\r\n0\r\n\r\n0\r\n\r\n")),
    passed("extension", "9112-7.1.1", chunked(b"2;a=b\r\n{}\r\n0;c\r\n\r\n")),
    passed("extension in quotes", "9112-7.1.1", chunked(b'2;a="b;c"\r\n{}\r\n0\r\n\r\n')),
    passed("space before extension", "9112-7.1.1", chunked(b"2 ;a\r\n{}\r\n0\r\n\r\n")),
    passed("extensions of 4096 bytes", "9112-7.1.1", chunked(b"2;" + b"x" * 4110 + b"\r\n{}\r\n0\r\n\r\n")),
    passed("coding in capitals", "9112-7", chunked(b"0\r\n\r\n", coding=b"Transfer-Encoding: Chunked")),
    passed("trailer", "9110-6.5", chunked(b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n")),
    passed("trailer of credentials", "9110-6.5.1", chunked(b"2\r\n{}\r\n0\r\nAuthorization: k\r\n\r\n")),
    passed("trailer of framing", "9110-6.5.1", chunked(b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n")),
    passed("GET in chunks", "9110-9.3.1", get(b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n"),
    refused("length and chunks", "9112-6.3", chunked(b"0\r\n\r\n", b"Content-Length: 5")),
    refused(
        "chunks and length 0",
        "9112-6.3",
        post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    refused(
        "length and identity",
        "9112-6.1",
        chunked(b"", b"Content-Length: 0", coding=b"Transfer-Encoding: identity"),
    ),
    refused("coding gzip", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding: gzip"), 501),
    refused("coding identity", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding: identity"), 501),
    refused(
        "coding gzip, chunked",
        "9112-6.1",
        chunked(b"0\r\n\r\n", coding=b"Transfer-Encoding: gzip, chunked"),
        501,
    ),
    refused(
        "coding chunked, gzip",
        "9112-6.3",
        chunked(b"0\r\n\r\n", coding=b"Transfer-Encoding: chunked, gzip"),
        501,
    ),
    refused("coding xchunked", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding: xchunked"), 501),
    refused(
        "coding chunked with parameter",
        "9112-7.1",
        chunked(b"", coding=b"Transfer-Encoding: chunked;q=1"),
        501,
    ),
    refused("coding in quotes", "9112-7", chunked(b"", coding=b'Transfer-Encoding: "chunked"'), 501),
    refused("chunked twice", "9112-7.1", chunked(b"", coding=b"Transfer-Encoding: chunked, chunked")),
    refused("chunked in two fields", "9112-7.1", chunked(b"", b"Transfer-Encoding: chunked")),
    refused("chunked, identity in two fields", "9112-6.1", chunked(b"", b"Transfer-Encoding: identity"), 501),
    refused("empty coding", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding:")),
    refused("coding with trailing comma", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding: chunked,")),
    refused("coding with VT", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding: \x0bchunked")),
    refused("coding with NUL", "9112-6.1", chunked(b"", coding=b"Transfer-Encoding: chunked\x00")),
    refused(
        "coding in HTTP/1.0",
        "9112-6.1",
        b"POST /x HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    refused("size with 0x", "9112-7.1", chunked(b"0x2\r\n{}\r\n0\r\n\r\n")),
    refused("size with plus", "9112-7.1", chunked(b"+2\r\n{}\r\n0\r\n\r\n")),
    refused("size with minus", "9112-7.1", chunked(b"-2\r\n{}\r\n0\r\n\r\n")),
    refused("size with underscore", "9112-7.1", chunked(b"0_2\r\n{}\r\n0\r\n\r\n")),
    refused("size with space in front", "9112-7.1", chunked(b" 2\r\n{}\r\n0\r\n\r\n")),
    refused("size with space behind", "9112-7.1", chunked(b"2 \r\n{}\r\n0\r\n\r\n")),
    refused("size in words", "9112-7.1", chunked(b"xyz\r\n{}\r\n0\r\n\r\n")),
    refused("empty size", "9112-7.1", chunked(b"\r\n{}\r\n0\r\n\r\n")),
    refused("size that overflows", "9112-7.1", chunked(b"ffffffffffffffffff\r\n{}")),
    refused("size of 2**60 - 1", "9110-15.5.14", chunked(b"fffffffffffffff\r\n{}"), 413),
    refused("size above the limit", "9110-15.5.14", chunked(b"A00001\r\n{}"), 413),
    refused("sizes above the limit together", "9110-15.5.14", chunked(b"1\r\nx\r\nA00000\r\n{}"), 413),
    refused("size ended by LF", "9112-2.2", chunked(b"2\n{}\r\n0\r\n\r\n")),
    refused("size ended by CR", "9112-2.2", chunked(b"2\r{}\r\n0\r\n\r\n")),
    refused("chunk ended by LF", "9112-7.1", chunked(b"2\r\n{}\n0\r\n\r\n")),
    refused("chunk longer than its size", "9112-7.1", chunked(b"2\r\n{}}\r\n0\r\n\r\n")),
    refused("chunk shorter than its size", "9112-7.1", chunked(b"4\r\n{}\r\n0\r\n\r\n")),
    refused("extension with LF", "9112-7.1.1", chunked(b"2;a\nb\r\n{}\r\n0\r\n\r\n")),
    refused("extension with CR", "9112-7.1.1", chunked(b"2;a\rb\r\n{}\r\n0\r\n\r\n")),
    refused("extension with NUL", "9112-7.1.1", chunked(b"2;a\x00\r\n{}\r\n0\r\n\r\n")),
    refused("extensions of 4097 bytes", "9112-7.1.1", chunked(b"2;" + b"x" * 4111 + b"\r\n{}\r\n0\r\n\r\n")),
    refused("extension of 64 KiB", "9112-7.1.1", chunked(b"2;" + b"x" * 65536)),
    refused("extensions of many chunks", "9112-7.1.1", chunked((b"1;" + b"x" * 100 + b"\r\n{\r\n") * 60)),
    refused("trailer with space before colon", "9112-5.1", chunked(b"0\r\nX : 1\r\n\r\n")),
    refused("trailer ended by LF", "9112-2.2", chunked(b"0\r\nX: 1\n\r\n")),
    refused("trailer folded", "9112-5.2", chunked(b"0\r\nX: 1\r\n 2\r\n\r\n")),
    refused("trailers above 32 KiB", "6585-5", chunked(b"0\r\nX: " + b"v" * 33_000), 431),
]

CONNECTIONS = [
    passed("connection close", "9112-9.6", get(b"Connection: close"), keeps=False),
    passed("connection close in capitals", "9110-7.6.1", get(b"Connection: CLOSE"), keeps=False),
    passed("connection list with close", "9110-7.6.1", get(b"Connection: x-a, close"), keeps=False),
    passed(
        "two connections with close", "9110-7.6.1", get(b"Connection: x-a", b"Connection: close"), keeps=False
    ),
    passed("connection keep-alive", "9112-9.3", get(b"Connection: keep-alive")),
    passed("connection that only looks like close", "9110-7.6.1", get(b"Connection: not-close")),
    passed("connection names fields", "9110-7.6.1", get(b"Connection: X-Hop", b"X-Hop: 1")),
    passed("connection names Host", "9110-7.6.1", get(b"Connection: Host")),
    passed(
        "connection names length",
        "9110-7.6.1",
        post(b"Connection: Content-Length", b"Content-Length: 2", body=b"{}"),
    ),
    passed(
        "hop-by-hop fields",
        "9110-7.6.1",
        get(b"Keep-Alive: 5", b"TE: trailers", b"Proxy-Connection: x", b"Trailer: X"),
    ),
    passed("HTTP/1.0", "9112-9.3", b"GET /x HTTP/1.0\r\n\r\n", keeps=False),
    passed("HTTP/1.0 with Host", "9112-9.3", b"GET /x HTTP/1.0\r\n" + HOST + END, keeps=False),
    passed(
        "HTTP/1.0 keep-alive", "9112-9.3", b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", keeps=False
    ),
    passed("HTTP/1.0 with body", "9112-6.3", b"POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", keeps=False),
    passed("HTTP/1.0 of a chunked reply", "9112-6.1", b"GET /chunked HTTP/1.0\r\n\r\n", keeps=False),
    passed("chunked reply", "9112-7.1", get(target=b"/chunked")),
    refused("two hosts in HTTP/1.0", "9112-3.2", b"GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    refused("invalid host in HTTP/1.0", "9110-7.2", b"GET /x HTTP/1.0\r\nHost: a/b\r\n\r\n"),
    passed(
        "upgrade to a websocket",
        "9110-7.8",
        get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    ),
    passed(
        "upgrade to h2c",
        "9110-7.8",
        get(
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        ),
    ),
    passed("one empty line in front", "9112-2.2", END + get()),
    passed("two empty lines in front", "9112-2.2", END + END + get()),
    refused("three empty lines in front", "9112-2.2", END + END + END + get()),
    refused("LF in front", "9112-2.2", b"\n" + get()),
    passed("empty line behind", "9112-2.2", get() + END),
    Case("two at once", "9112-9.3.2", get() + get(target=b"/y"), (200, 200), 2, True),
    Case("ten at once", "9112-9.3.2", get() * 10, (200,) * 10, 10, True),
    Case("posts at once", "9112-9.3.2", post(b"Content-Length: 2", body=b"{}") * 3, (200,) * 3, 3, True),
    Case("chunks at once", "9112-9.3.2", chunked(b"2\r\n{}\r\n0\r\n\r\n") * 3, (200,) * 3, 3, True),
    Case("refused after good", "9112-9.3.2", get() + get(b"X : 1"), (200, 400), 1, False),
    Case("nothing after refused", "9112-9.3.2", get(b"X : 1") + get(), (400,), 0, False),
    Case("nothing after close", "9112-9.6", get(b"Connection: close") + get(), (200,), 1, False),
    Case(
        "good, refused by the gateway, good",
        "9112-9.3.2",
        get() + get(b"Via: 1.1 stillgate-g0") + get(),
        (200, 508, 200),
        2,
        True,
    ),
    Case(
        "smuggled behind CL.TE",
        "9112-11.2",
        chunked(b"0\r\n\r\n", b"Content-Length: 6") + get(),
        (400,),
        0,
        False,
    ),
    Case(
        "smuggled behind a length",
        "9112-11.2",
        post(b"Content-Length: 5", body=b"0\r\n\r\n") + get(),
        (200, 200),
        2,
        True,
    ),
]

MEANINGS = [
    passed(
        "expectation with body at once",
        "9110-10.1.1",
        post(b"Expect: 100-continue", b"Content-Length: 2", body=b"{}"),
    ),
    passed(
        "expectation in capitals",
        "9110-10.1.1",
        post(b"Expect: 100-CONTINUE", b"Content-Length: 2", body=b"{}"),
    ),
    passed("expectation without body", "9110-10.1.1", get(b"Expect: 100-continue")),
    refused("other expectation", "9110-10.1.1", get(b"Expect: 200-ok"), 417),
    refused("two expectations in one", "9110-10.1.1", get(b"Expect: 100-continue, x"), 417),
    refused(
        "expectation of too large a body",
        "9110-10.1.1",
        post(b"Expect: 100-continue", b"Content-Length: 10485761"),
        413,
    ),
    refused(
        "expectation of a loop",
        "9110-10.1.1",
        post(b"Expect: 100-continue", b"Content-Length: 2", b"Via: 1.1 stillgate-g0"),
        508,
    ),
    passed("other Via", "9110-7.6.3", get(b"Via: 1.1 stillgate-g01, 1.0 edge")),
    Case("own Via", "9110-7.6.3", get(b"Via: 1.0 edge, 1.1 stillgate-g0"), (508,), 0, True),
    Case(
        "own Via in a second field",
        "9110-7.6.3",
        get(b"Via: 1.0 edge", b"Via: 1.1 stillgate-g0 (x)"),
        (508,),
        0,
        True,
    ),
    passed(
        "forwarded by a stranger", "7239-8.1", get(b"Forwarded: for=1.1.1.1", b"X-Forwarded-For: 1.1.1.1")
    ),
    passed("unknown path", "9110-4.2", get(target=b"/no/task/here")),
    passed("gateway's own header", "9110-5.1", get(b"X-Stillgate-Served-By: caller")),
]

CASES = [*REQUEST_LINE, *METHODS, *TARGETS, *HOSTS, *FIELDS, *LENGTHS, *CODINGS, *CONNECTIONS, *MEANINGS]
