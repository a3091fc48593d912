"""LangChain's and LangGraph's callbacks -> records."""
