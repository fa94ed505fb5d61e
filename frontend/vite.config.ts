import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

const server = "http://127.0.0.1:8000";

export default defineConfig({
  // Relative addresses: the page works below any path.
  base: "./",
  plugins: [svelte()],
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
