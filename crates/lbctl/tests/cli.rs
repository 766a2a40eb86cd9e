//! What `lbctl` says, as transcripts.

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        .env("COLUMNS", "80")
        .env("TZ", "UTC")
        .env("LBD_SOCKET", "/nonexistent/lbd.sock")
        .case("tests/cmd/*.trycmd");
}
