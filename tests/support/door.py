"""A door with TLS in front of an HTTP server, which lets in only who proves who he is.

door.py PORT SERVER CHAIN KEY bearer TOKEN | sigv4 SERVICE REGION ID SECRET [SESSION-TOKEN]
"""

import hashlib, http.client, ssl, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, server, chain, key, kind, *told = sys.argv[1:]


def bearer(request, _):
    return request.headers.get('Authorization') == 'Bearer ' + told[0]


def sigv4(request, body):
    """Signs the request again, as Amazon's own library does it."""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    service, region, ident, secret, *session = told
    said = request.headers.get('Authorization', '')
    try:
        scheme, rest = said.split(' ', 1)
        parts = dict(part.strip().split('=', 1) for part in rest.split(','))
        stamp = request.headers['X-Amz-Date']
        at = time.mktime(time.strptime(stamp, '%Y%m%dT%H%M%SZ')) - time.timezone
        scope = f'{ident}/{stamp[:8]}/{region}/{service}/aws4_request'
        names = parts['SignedHeaders'].split(';')
        headers = {name: request.headers[name] for name in names}
        again = AWSRequest(request.command, f"https://{request.headers['Host']}{request.path}", headers, body)
        again.context['timestamp'] = stamp
        signer = (S3SigV4Auth if service == 's3' else SigV4Auth)(Credentials(ident, secret, *session), service, region)
        signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    except (KeyError, TypeError, ValueError):
        return False
    return (scheme == 'AWS4-HMAC-SHA256' and parts['Credential'] == scope and parts['Signature'] == signature
            and abs(time.time() - at) < 900 and 'host' in names
            and [headers[name] for name in names if name == 'x-amz-security-token'] == session
            and headers.get('x-amz-content-sha256') == hashlib.sha256(body).hexdigest())


class Door(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if not {'bearer': bearer, 'sigv4': sigv4}[kind](self, body):
            return self.answer(403, [], b'{"__type": "InvalidSignatureException", "message": "you are not who you say"}')
        behind = http.client.HTTPConnection(server, timeout=20)
        behind.request(self.command, self.path, body or None, dict(self.headers))
        answer = behind.getresponse()
        self.answer(answer.status, answer.getheaders(), answer.read())
        behind.close()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ('content-length', 'transfer-encoding', 'connection'):
                self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = pass_on

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True


listener = Server(('127.0.0.1', int(port)), Door)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
# The handshake is made where a connection is first read, so that one that says nothing holds up nobody.
listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
listener.serve_forever()
