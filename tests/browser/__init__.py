"""The pages in a real Chromium, with service and simulator on real sockets: `make browser-test`.

`make test` leaves these out: they need Chromium and Node.js.

    chromium      starts it so that it reaches this machine only
    watching      what a page must not do unless a test announces it
    playground    the playground as a user handles it
    accessibility barriers, as axe finds them
    tools.*       Playwright, which drives Chromium, locked apart from our dependencies
    npm/          axe, and TypeScript's compiler
"""
