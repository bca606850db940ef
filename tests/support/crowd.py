# A crowd at a port: COUNT connections to ADDRESS, each of which sends half a head, until standard input ends.
import resource, socket, sys

address, count = sys.argv[1], int(sys.argv[2])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
host, port = address.rsplit(":", 1)
crowd = []
for _ in range(count):
    one = socket.create_connection((host, int(port)), timeout=30)
    try:
        one.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nx-half: ")
    except OSError:
        pass  # refused already
    crowd.append(one)
print("there", flush=True)
sys.stdin.read()
