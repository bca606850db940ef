# A port of loopback that talks TLS, and leads in the clear to another: `tls_relay.py PORT TO CHAIN KEY`.
import asyncio
import ssl
import sys

port, to, chain, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)


async def passed(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def lead(reader, writer):
    try:
        back, forth = await asyncio.open_connection("127.0.0.1", int(to))
    except OSError:
        return writer.close()
    await asyncio.gather(passed(reader, forth), passed(back, writer))


async def main():
    server = await asyncio.start_server(lead, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()


asyncio.run(main())
