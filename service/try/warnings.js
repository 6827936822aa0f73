// @ts-check
// What is misconfigured, as far as a page can see it. Pure.

/** @typedef {{title: string, text: string, link?: string}} Warning */

const NOWHERE = {
  title: "Mend SPOTIFY_AUTHORIZE_URL",
  text: "It is no URL that a browser understands, so nobody can be sent to log in. Everything else here works.",
};
const LOOPBACK = ["127.0.0.1", "[::1]"];

/**
 * Returns what has to be mended before a login can work.
 *
 * @param {{protocol: string, hostname: string, port: string}} location
 * @param {string} redirectUri the page's own
 * @param {boolean} allowed whether ALLOWED_REDIRECT_URIS, if set, has it
 * @param {boolean} leadsSomewhere whether SPOTIFY_AUTHORIZE_URL is a URL
 * @returns {Warning[]}
 */
export function warnings(location, redirectUri, allowed, leadsSomewhere) {
  return [
    ...(leadsSomewhere ? [] : [NOWHERE]),
    ...ofPlace(location),
    ...(allowed ? [] : [notAllowed(redirectUri)]),
  ];
}

/**
 * @param {{protocol: string, hostname: string, port: string}} location
 * @returns {Warning[]}
 */
function ofPlace({ protocol, hostname, port }) {
  if (hostname === "localhost" || hostname.endsWith(".localhost")) {
    const link = `${protocol}//127.0.0.1${port && `:${port}`}/try`;
    return [
      {
        title: "Open this page at 127.0.0.1",
        text: "Spotify takes no redirect URI with the name localhost, only the address:",
        link,
      },
    ];
  }
  if (protocol === "https:" || LOOPBACK.includes(hostname)) return [];
  return [
    {
      title: "Serve this over https",
      text: "Spotify takes http only on 127.0.0.1 and [::1], tokens would be read on their way, and a browser makes no PKCE here.",
    },
  ];
}

/**
 * @param {string} redirectUri
 * @returns {Warning}
 */
function notAllowed(redirectUri) {
  return {
    title: "Allow this page’s redirect URI",
    text: `ALLOWED_REDIRECT_URIS is set on the server and does not have ${redirectUri}: the swap of a code would be refused. Add it there to log in from here.`,
  };
}
