"""Test the playground, the login page and /docs in Chromium: `make browser-test`.

The service and the simulator run on real sockets. `make test` does not run these tests, since they
need Chromium and Node.js.

    chromium       starts Chromium without access to other hosts
    watching       fails a test for console messages and requests to other origins
    playground     the steps of a user in the playground
    accessibility  the violations that axe finds
    tsconfig.json  how TypeScript checks the playground's scripts
"""
