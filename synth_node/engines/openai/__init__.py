"""The voices of any server that speaks OpenAI's speech API."""
