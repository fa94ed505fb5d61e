import { brotliCompressSync, gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const server = "http://127.0.0.1:8000";

/** Write a compressed copy of every text beside it, once at the build instead of at each visit. */
function compressed(): Plugin {
  return {
    name: "compressed-copies",
    apply: "build",
    enforce: "post",
    generateBundle(_, bundle) {
      for (const [fileName, file] of Object.entries(bundle)) {
        const source = Buffer.from(file.type === "chunk" ? file.code : file.source);
        if (!/\.(js|css|html|svg)$/.test(fileName) || source.length < 1024) continue;
        this.emitFile({ type: "asset", fileName: `${fileName}.gz`, source: gzipSync(source, { level: 9 }) });
        this.emitFile({ type: "asset", fileName: `${fileName}.br`, source: brotliCompressSync(source) });
      }
    },
  };
}

export default defineConfig({
  // Relative addresses: the page works below any path.
  base: "./",
  plugins: [svelte(), compressed()],
  build: {
    outDir: "../src/meeting_assistant/static",
    // public/.gitkeep comes back with every build: the folder itself is in git.
    emptyOutDir: true,
    target: "es2022",
    // Everything is a file of our own origin, so that the strict security policy holds.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
  server: {
    proxy: {
      // The Origin must be the server's own, or its guard refuses; `changeOrigin` alone only changes the Host.
      "/api": { target: server, changeOrigin: true, headers: { origin: server } },
      "/ws": { target: server, changeOrigin: true, ws: true, headers: { origin: server } },
    },
  },
  // Components are tested as a browser runs them.
  resolve: process.env.VITEST === undefined ? {} : { conditions: ["browser"] },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
