// Builds the console into `dist/`, which is committed: cargo needs no npm.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type HttpProxy } from 'vite';

/** What the server lets the page do (`host/server/src/console.rs`), so that `vite preview` shows what would be refused. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** Where `npm run dev` passes requests of the API on to. */
const server = process.env.SPOUT_SERVER ?? 'http://127.0.0.1:1653';

export default defineConfig({
  plugins: [svelte()],
  worker: { format: 'es' },
  build: {
    target: 'es2023',
    outDir: 'dist',
    // Every file is a file: the policy of the page allows no others.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  preview: { headers: { 'Content-Security-Policy': policy } },
  server: {
    proxy: Object.fromEntries(
      ['/v1', '/health', '/ready', '/metrics', '/openapi.json'].map((path) => [
        path,
        {
          target: server,
          changeOrigin: true,
          // The server answers its own page only, and here that is this one.
          configure: (proxy: HttpProxy.ProxyServer) =>
            proxy.on('proxyReq', (request) => {
              request.removeHeader('origin');
            }),
        },
      ]),
    ),
  },
});
