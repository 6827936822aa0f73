"""The pages in a real Chromium, against service and simulator on real sockets: `make browser-test`.

`make test` leaves these out: they need Chromium and Node.js.

    chromium      starts it so that it reaches nothing but this machine
    watching      what a page must not do, and a test has to announce
    trying        /try in a person's hands
    accessibility what keeps people out, as axe finds it
    tools.*       Playwright, which drives Chromium, locked apart from ours
    npm/          axe, and TypeScript's compiler
"""
