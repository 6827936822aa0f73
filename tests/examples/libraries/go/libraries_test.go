// Package libraries points golang.org/x/oauth2, unmodified, at a running service by its own options.
package libraries

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	clientID = "simulator-client-id"
	redirect = "http://127.0.0.1:8888/callback"
)

var (
	service   = os.Getenv("SERVICE")
	simulator = os.Getenv("SIMULATOR")
	config    = oauth2.Config{
		ClientID:    clientID,
		RedirectURL: redirect,
		Endpoint:    oauth2.Endpoint{AuthURL: service + "/authorize", TokenURL: service + "/api/token"},
	}
	browser = http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
)

// agree agrees on Spotify's page, to which the service redirects, and returns the code.
func agree(t *testing.T, address string) string {
	t.Helper()
	consent, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	back, err := browser.PostForm(consent.Header.Get("Location"), url.Values{"decision": {"allow"}})
	if err != nil {
		t.Fatal(err)
	}
	callback, err := back.Location()
	if err != nil {
		t.Fatal(err)
	}
	return callback.Query().Get("code")
}

func admin(t *testing.T, path, body string) {
	t.Helper()
	response, err := browser.Post(simulator+"/admin/"+path, "application/json", strings.NewReader(body))
	if err != nil || response.StatusCode >= 300 {
		t.Fatal(err, response)
	}
}

func login(t *testing.T) *oauth2.Token {
	t.Helper()
	admin(t, "reset", "")
	verifier := oauth2.GenerateVerifier()
	code := agree(t, config.AuthCodeURL("random", oauth2.S256ChallengeOption(verifier)))
	token, err := config.Exchange(context.Background(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func refresh(refreshToken string) (*oauth2.Token, error) {
	expired := &oauth2.Token{RefreshToken: refreshToken}
	return config.TokenSource(context.Background(), expired).Token()
}

func assertError(t *testing.T, err error, status int, code string) {
	t.Helper()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response.StatusCode != status || refused.ErrorCode != code {
		t.Fatal(err)
	}
}

func TestLogin(t *testing.T) {
	if token := login(t); !token.Valid() || token.RefreshToken == "" {
		t.Fatal("no tokens")
	}
}

func TestRefreshTwice(t *testing.T) {
	first := login(t)
	second, err := refresh(first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	third, err := refresh(second.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if first.AccessToken == second.AccessToken || second.AccessToken == third.AccessToken {
		t.Fatal("the access token is the same")
	}
}

func TestLostKey(t *testing.T) {
	_, err := refresh(os.Getenv("LOST_TOKEN"))
	assertError(t, err, 400, "invalid_grant")
}

func TestSpotifyDown(t *testing.T) {
	token := login(t)
	admin(t, "faults", `{"kind": "answer", "status": 503, "body": "no healthy upstream"}`)
	_, err := refresh(token.RefreshToken)
	assertError(t, err, 503, "temporarily_unavailable")
	if _, err := refresh(token.RefreshToken); err != nil {
		t.Fatal(err)
	}
}

func TestClientCredentials(t *testing.T) {
	app := clientcredentials.Config{ClientID: clientID, TokenURL: config.Endpoint.TokenURL}
	token, err := app.Token(context.Background())
	if err != nil || !strings.HasPrefix(token.AccessToken, "BQ") {
		t.Fatal(err)
	}
}
