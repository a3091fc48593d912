import type { Metadata } from "next";
import type { ReactNode } from "react";

import { SignIn } from "@/components/SignIn";

export const metadata: Metadata = { title: "Conversations" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body style={{ fontFamily: "system-ui", maxWidth: "48rem", margin: "2rem auto", padding: "0 1rem" }}>
        <SignIn>{children}</SignIn>
      </body>
    </html>
  );
}
